package compress

const (
	plausibleSize  = 16 << 20 // what a body may unpack to however short it is packed
	plausibleRatio = 64       // and how many times its packed size beyond that: more than keys and values ever shrink
)

// Plausible returns what a body of so many packed bytes may unpack to, at most limit: to be given to Decompress where
// anybody may send bodies, so that nobody takes much memory for little of his own.
func Plausible(packed, limit int) int { return min(limit, plausibleSize+plausibleRatio*packed) }
