//go:build simreplay

package sim

import _ "unsafe" // for go:linkname

//go:linkname simState runtime.simState
var simState uint64

// seedChance fixes the lots that the runtime draws from now on.
func seedChance(seed uint64) { simState = seed }
