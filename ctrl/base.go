package ctrl

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"openr/monitor"
	"openr/thrift/gen/fb303core"
)

// Limits of what clients may leave here with setOption.
const (
	maxOptions      = 100
	maxOptionLength = 4096
)

// fewCounters is up to how many counters are looked up one by one.
const fewCounters = 20

// GetStatus is ALIVE once initialization is over, STARTING before.
func (c *Ctrl) GetStatus(context.Context) (fb303core.Fb303Status, error) {
	if c.initialized() {
		return fb303core.Fb303Status_ALIVE, nil
	}
	return fb303core.Fb303Status_STARTING, nil
}

func (c *Ctrl) initialized() bool {
	_, done := c.Init.Times()[monitor.Initialized]
	return done
}

// GetName returns the name of the program.
func (c *Ctrl) GetName(context.Context) (string, error) { return "openr", nil }

// GetVersion returns the version of the program.
func (c *Ctrl) GetVersion(context.Context) (string, error) { return c.Version, nil }

// GetStatusDetails says how far initialization is.
func (c *Ctrl) GetStatusDetails(context.Context) (string, error) {
	if c.initialized() {
		return "initialized", nil
	}
	return fmt.Sprintf("initializing: %d of %d stages reached", len(c.Init.Times()), len(stages)), nil
}

// AliveSince returns when the agent started, in seconds since the epoch.
func (c *Ctrl) AliveSince(context.Context) (int64, error) { return c.started.Unix(), nil }

func (c *Ctrl) counters(want func(name string) bool) map[string]int64 {
	out := map[string]int64{}
	for name, v := range c.Counters.Snapshot() {
		if want(name) {
			out[name] = v
		}
	}
	return out
}

// GetCounters returns all counters.
func (c *Ctrl) GetCounters(context.Context) (map[string]int64, error) {
	return c.counters(func(string) bool { return true }), nil
}

// GetRegexCounters returns the counters whose whole name matches.
func (c *Ctrl) GetRegexCounters(_ context.Context, regex string) (map[string]int64, error) {
	re, err := regexp.Compile("^(?:" + regex + ")$")
	if err != nil {
		return nil, fmt.Errorf("%q is not a regular expression: %w", regex, err)
	}
	return c.counters(re.MatchString), nil
}

// GetSelectedCounters returns the named counters as far as they exist.
func (c *Ctrl) GetSelectedCounters(_ context.Context, keys []string) (map[string]int64, error) {
	out := map[string]int64{}
	if len(keys) > fewCounters {
		wanted := map[string]bool{}
		for _, key := range keys {
			wanted[key] = true
		}
		return c.counters(func(name string) bool { return wanted[name] }), nil
	}
	for _, key := range keys {
		if v, ok := c.Counters.Get(key); ok {
			out[key] = v
		}
	}
	return out, nil
}

// GetCounter returns one counter.
func (c *Ctrl) GetCounter(_ context.Context, key string) (int64, error) {
	v, ok := c.Counters.Get(key)
	if !ok {
		return 0, fmt.Errorf("there is no counter %q", key)
	}
	return v, nil
}

// failedRoute begins the name of an exported value that says why a route could not be programmed; the prefix follows.
const failedRoute = "fib.failed_route."

// exported returns the exported values whose names are wanted: one for each change to the forwarding table that failed.
func (c *Ctrl) exported(ctx context.Context, want func(name string) bool) (map[string]string, error) {
	routes, err := ask(ctx, "fib", c.Fib.Routes)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range routes {
		if name := failedRoute + r.Route.Prefix.String(); r.Err != nil && want(name) {
			out[name] = r.Err.Error()
		}
	}
	return out, nil
}

// GetExportedValues returns all exported values: fib.failed_route.<prefix> for each route that could not be programmed, with
// the reason.
func (c *Ctrl) GetExportedValues(ctx context.Context) (map[string]string, error) {
	return c.exported(ctx, func(string) bool { return true })
}

// GetSelectedExportedValues returns the named exported values as far as they exist.
func (c *Ctrl) GetSelectedExportedValues(ctx context.Context, keys []string) (map[string]string, error) {
	return c.exported(ctx, func(name string) bool { return slices.Contains(keys, name) })
}

// GetRegexExportedValues returns the exported values whose whole name matches.
func (c *Ctrl) GetRegexExportedValues(ctx context.Context, regex string) (map[string]string, error) {
	re, err := regexp.Compile("^(?:" + regex + ")$")
	if err != nil {
		return nil, fmt.Errorf("%q is not a regular expression: %w", regex, err)
	}
	return c.exported(ctx, re.MatchString)
}

// GetExportedValue returns one exported value.
func (c *Ctrl) GetExportedValue(ctx context.Context, key string) (string, error) {
	values, err := c.GetSelectedExportedValues(ctx, []string{key})
	if v, ok := values[key]; ok || err != nil {
		return v, err
	}
	return "", fmt.Errorf("there is no exported value %q", key)
}

// SetOption keeps a pair for GetOption. Options have no effect.
func (c *Ctrl) SetOption(_ context.Context, key, value string) error {
	if len(key) > maxOptionLength || len(value) > maxOptionLength {
		return fmt.Errorf("an option has at most %d bytes", maxOptionLength)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.options[key]; !known && len(c.options) >= maxOptions {
		return fmt.Errorf("there are already %d options", maxOptions)
	}
	c.options[key] = value
	return nil
}

// GetOption returns what SetOption has kept.
func (c *Ctrl) GetOption(_ context.Context, key string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.options[key]
	if !ok {
		return "", fmt.Errorf("there is no option %q", key)
	}
	return v, nil
}

// GetOptions returns all options.
func (c *Ctrl) GetOptions(context.Context) (map[string]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.options), nil
}
