package ctrl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"openr/config"
	"openr/thrift/compact"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/types"
)

const (
	maxConfigFile  = 4 << 20 // bytes of a configuration file that somebody may have read
	maxConfigKey   = 1 << 10 // bytes of a configuration key's name
	maxConfigValue = 1 << 20 // and of its value
)

// linkMonitorKey is the configuration key under which linkmonitor keeps the drain state (Open/R link-monitor/LinkMonitor.cpp,
// kConfigKey); its value is a LinkMonitorState.
const linkMonitorKey = "link-monitor-config"

// GetRunningConfig returns the effective configuration as JSON.
func (c *Ctrl) GetRunningConfig(context.Context) (string, error) {
	return string(c.Config.JSON()), nil
}

// GetRunningConfigThrift returns the effective configuration.
func (c *Ctrl) GetRunningConfigThrift(context.Context) (*openrconfig.OpenrConfig, error) {
	return c.Config.Thrift(), nil
}

// DryrunConfig reads a configuration file on this machine, as an agent would at start, and returns the effective
// configuration as JSON. It fails with everything that is wrong with the file.
func (c *Ctrl) DryrunConfig(_ context.Context, path string) (string, error) {
	data, err := readSmall(path, maxConfigFile)
	if err != nil {
		return "", openrErrorf("failed to read the configuration: %w", err)
	}
	parsed, _, err := config.Parse(path, data)
	if err != nil {
		return "", openrError(err)
	}
	return string(parsed.JSON()), nil
}

// readSmall reads a regular file of at most limit bytes. Nothing else that a path may lead to (a device, a pipe) can make it
// wait or read for ever.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return data, err
}

var errNoConfigStore = errors.New("this agent keeps no configuration keys")

// SetConfigKey keeps a value under a key, over restarts of the agent. Of the keys that the agent itself uses, the value must
// be what it expects; it takes effect with the next start.
func (c *Ctrl) SetConfigKey(_ context.Context, key string, value []byte) error {
	switch {
	case c.ConfigStore == nil:
		return openrError(errNoConfigStore)
	case key == "" || len(key) > maxConfigKey:
		return openrErrorf("argument key has %d bytes: want 1 to %d", len(key), maxConfigKey)
	case len(value) > maxConfigValue:
		return openrErrorf("argument value has %d bytes: want at most %d", len(value), maxConfigValue)
	}
	if key == linkMonitorKey {
		if err := compact.Unmarshal(value, types.NewLinkMonitorState()); err != nil {
			return openrErrorf("key %q: the value is not a LinkMonitorState in compact Thrift: %w", key, err)
		}
	}
	if value == nil {
		value = []byte{}
	}
	return openrError(c.ConfigStore.Set(key, value))
}

// EraseConfigKey forgets a key. It is no error if it does not exist.
func (c *Ctrl) EraseConfigKey(_ context.Context, key string) error {
	if c.ConfigStore == nil {
		return openrError(errNoConfigStore)
	}
	return openrError(c.ConfigStore.Erase(key))
}

// GetConfigKey returns what SetConfigKey, or the agent itself, has kept under a key.
func (c *Ctrl) GetConfigKey(_ context.Context, key string) ([]byte, error) {
	if c.ConfigStore == nil {
		return nil, openrError(errNoConfigStore)
	}
	value, ok := c.ConfigStore.Get(key)
	if !ok {
		return nil, openrErrorf("key %q doesn't exist", key)
	}
	return append([]byte{}, value...), nil
}
