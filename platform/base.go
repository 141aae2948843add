package platform

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"openr/thrift/gen/fb303core"
)

// Limits of what clients may leave here with setOption.
const (
	maxOptions      = 100
	maxOptionLength = 4096
)

// GetStatus is ALIVE.
func (p *Platform) GetStatus(context.Context) (fb303core.Fb303Status, error) {
	return fb303core.Fb303Status_ALIVE, nil
}

// GetName returns the name of the program.
func (p *Platform) GetName(context.Context) (string, error) { return "openr platform", nil }

// GetVersion returns the version of the program.
func (p *Platform) GetVersion(context.Context) (string, error) { return p.o.Version, nil }

// GetStatusDetails says which clients are known.
func (p *Platform) GetStatusDetails(context.Context) (string, error) {
	return "programs routes for the client ids " + p.known(), nil
}

// AliveSince returns when the service started, in seconds since the epoch.
func (p *Platform) AliveSince(context.Context) (int64, error) { return p.started.Unix(), nil }

// GetCounters returns all counters.
func (p *Platform) GetCounters(context.Context) (map[string]int64, error) {
	out := map[string]int64{}
	maps.Copy(out, p.o.Counters.Snapshot())
	return out, nil
}

// GetRegexCounters returns the counters whose whole name matches.
func (p *Platform) GetRegexCounters(ctx context.Context, regex string) (map[string]int64, error) {
	all, err := p.GetCounters(ctx)
	return matching(all, regex, err)
}

func matching[V any](all map[string]V, regex string, err error) (map[string]V, error) {
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile("^(?:" + regex + ")$")
	if err != nil {
		return nil, fmt.Errorf("%q is not a regular expression: %w", regex, err)
	}
	maps.DeleteFunc(all, func(name string, _ V) bool { return !re.MatchString(name) })
	return all, nil
}

// GetSelectedCounters returns the named counters as far as they exist.
func (p *Platform) GetSelectedCounters(_ context.Context, keys []string) (map[string]int64, error) {
	out := map[string]int64{}
	for _, key := range keys {
		if v, ok := p.o.Counters.Get(key); ok {
			out[key] = v
		}
	}
	return out, nil
}

// GetCounter returns one counter.
func (p *Platform) GetCounter(_ context.Context, key string) (int64, error) {
	v, ok := p.o.Counters.Get(key)
	if !ok {
		return 0, fmt.Errorf("there is no counter %q", key)
	}
	return v, nil
}

// failedRoute begins the name of an exported value that says why a route is not as it should be; the prefix follows.
const failedRoute = "fib.failed_route."

// GetExportedValues returns fib.failed_route.<prefix> for each route that could not be brought in or taken out, with the
// reason.
func (p *Platform) GetExportedValues(context.Context) (map[string]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]string, len(p.failed))
	for r, why := range p.failed {
		out[failedRoute+r.prefix.String()] = why
	}
	return out, nil
}

// GetSelectedExportedValues returns the named exported values as far as they exist.
func (p *Platform) GetSelectedExportedValues(ctx context.Context, keys []string) (map[string]string, error) {
	all, err := p.GetExportedValues(ctx)
	maps.DeleteFunc(all, func(name, _ string) bool { return !slices.Contains(keys, name) })
	return all, err
}

// GetRegexExportedValues returns the exported values whose whole name matches.
func (p *Platform) GetRegexExportedValues(ctx context.Context, regex string) (map[string]string, error) {
	all, err := p.GetExportedValues(ctx)
	return matching(all, regex, err)
}

// GetExportedValue returns one exported value.
func (p *Platform) GetExportedValue(ctx context.Context, key string) (string, error) {
	all, err := p.GetExportedValues(ctx)
	if v, ok := all[key]; ok || err != nil {
		return v, err
	}
	return "", fmt.Errorf("there is no exported value %q", key)
}

// SetOption keeps a pair for GetOption. Options have no effect.
func (p *Platform) SetOption(_ context.Context, key, value string) error {
	if len(key) > maxOptionLength || len(value) > maxOptionLength {
		return fmt.Errorf("an option has at most %d bytes", maxOptionLength)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.options[key]; !known && len(p.options) >= maxOptions {
		return fmt.Errorf("there are already %d options", maxOptions)
	}
	p.options[key] = value
	return nil
}

// GetOption returns what SetOption has kept.
func (p *Platform) GetOption(_ context.Context, key string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.options[key]
	if !ok {
		return "", fmt.Errorf("there is no option %q", key)
	}
	return v, nil
}

// GetOptions returns all options.
func (p *Platform) GetOptions(context.Context) (map[string]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.options), nil
}
