package compress

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// Writers and readers are kept for later: a writer has more than a megabyte of tables.
var (
	zlibWriters = sync.Pool{New: func() any { return zlib.NewWriter(io.Discard) }}
	zlibFast    = sync.Pool{New: func() any { return newZlibWriter(zlib.BestSpeed) }}
	zlibBest    = sync.Pool{New: func() any { return newZlibWriter(zlib.BestCompression) }}
	zlibReaders sync.Pool // of io.ReadCloser that are zlib.Resetter
)

func newZlibWriter(level int) *zlib.Writer {
	w, err := zlib.NewWriterLevel(io.Discard, level)
	if err != nil {
		panic(err) // the level is wrong
	}
	return w
}

func zlibPack(a Algorithm, dst, src []byte) []byte {
	pool := &zlibWriters
	switch a {
	case ZlibLess:
		pool = &zlibFast
	case ZlibMore:
		pool = &zlibBest
	}
	w := pool.Get().(*zlib.Writer)
	out := bytes.NewBuffer(dst)
	w.Reset(out)
	w.Write(src) // memory takes it
	w.Close()
	w.Reset(io.Discard)
	pool.Put(w)
	return out.Bytes()
}

func zlibUnpack(src []byte, limit int) (body []byte, err error) {
	in := bytes.NewReader(src)
	r, ok := zlibReaders.Get().(io.ReadCloser)
	if ok {
		err = r.(zlib.Resetter).Reset(in, nil)
	} else {
		r, err = zlib.NewReader(in)
	}
	if err != nil {
		return nil, err
	}
	defer zlibReaders.Put(r)
	body = make([]byte, 0, min(limit, 4*len(src))+bytes.MinRead)
	for {
		n, err := r.Read(body[len(body):min(cap(body), limit+1)])
		body = body[:len(body)+n]
		switch {
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		case len(body) > limit:
			return nil, ErrTooLarge
		case len(body) == cap(body):
			body = append(body, 0)[:len(body)]
		}
	}
}
