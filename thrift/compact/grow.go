package compact

const (
	minRoom  = 512      // bytes
	doubled  = 1 << 20  // what is longer grows by a quarter, unless it is known how long it will be
	bold     = 64       // at most by so many times even then
	fewBytes = 64 << 10 // tell little about the others: then no more than boldRoom is made
	boldRoom = 1 << 20
)

// bulk is the outermost container of structs that is being written: what most of a long message is. Its elements are alike,
// so those that are written tell how much room the others will take.
type bulk struct {
	depth int // of its elements' structs; -1: there is none
	open  int // containers begun at that depth and not ended, it and what stands in it
	begin int // where it stands in what is written
	size  int // elements in all
	done  int // elements begun
}

// contains notes that a container of size elements begins.
func (p *Protocol) contains(structs bool, size int) {
	b := &p.bulk
	switch {
	case b.depth < 0 && structs:
		*b = bulk{depth: p.writing.depth, open: 1, begin: len(p.out), size: size}
	case b.depth == p.writing.depth:
		b.open++
	}
}

// contained notes that a container ends.
func (p *Protocol) contained() {
	if b := &p.bulk; b.depth == p.writing.depth {
		if b.open--; b.open == 0 {
			b.depth = -1
		}
	}
}

// reserve makes room for n more bytes, and for what is expected to follow them.
func (p *Protocol) reserve(n int) {
	if cap(p.out)-len(p.out) < n {
		p.grow(n)
	}
}

func (p *Protocol) grow(n int) {
	have := len(p.out)
	want := 2 * have
	if have > doubled {
		want = have + have/4
	}
	if b := &p.bulk; b.depth >= 0 && b.done > 1 && b.done <= b.size {
		each := (have - b.begin) / (b.done - 1)
		left := (b.size - b.done + 1) * (each + each/32 + 1)
		want = max(have+left, have+have/4)
		if want = min(want, bold*have); have <= fewBytes {
			want = min(want, boldRoom)
		}
	}
	grown := make([]byte, have, max(want, have+n, minRoom))
	copy(grown, p.out)
	p.out = grown
}
