package compress

import "sync"

const (
	probed     = 1 << 20 // bodies shorter than this are packed without asking
	probe      = 4 << 10 // how much of a body is looked at in one place
	probes     = 16      // in how many places
	probeWorth = 3. / 4  // what the looked at must shrink to
)

var samples = sync.Pool{New: func() any { return new([2][]byte) }}

// Worth guesses whether a body is worth packing, for a sender who is free not to. Short ones always are. Of a long one
// some pieces are packed: if that takes off less than a quarter, then packing and unpacking the whole takes longer than
// sending it does on any but a slow link.
func Worth(a Algorithm, src []byte) bool {
	if a == None || len(src) < probed {
		return a != None
	}
	s := samples.Get().(*[2][]byte)
	defer samples.Put(s)
	sample := s[0][:0]
	step := (len(src) - probe) / (probes - 1)
	for i := range probes {
		sample = append(sample, src[i*step:][:probe]...)
	}
	packed, err := Compress(a, s[1][:0], sample)
	s[0], s[1] = sample, packed
	return err == nil && float64(len(packed)) < probeWorth*float64(len(sample))
}
