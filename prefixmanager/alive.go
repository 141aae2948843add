package prefixmanager

import "context"

// Alive returns nil when the module's loop has come round, or ctx's error.
func (m *PrefixManager) Alive(ctx context.Context) error { return m.calls.Do(ctx, func() {}) }
