//go:build !simreplay

package sim

// seedChance fixes the lots that the runtime draws, where it is one that lets them be fixed; see internal/patchruntime.
func seedChance(uint64) {}
