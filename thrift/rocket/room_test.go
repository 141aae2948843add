package rocket

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"openr/thrift/compress"
)

// counting is a room of a limited number of bytes.
type counting struct {
	limit int

	mu        sync.Mutex
	now, most int
}

func (r *counting) take(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now+n > r.limit {
		return ErrNoRoom
	}
	r.now += n
	r.most = max(r.most, r.now)
	return nil
}

// TestRoom sends requests and answers of all sizes: the long ones take room, and give it back.
func TestRoom(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	packed, err := compress.Compress(compress.Zstd, nil, counterArgs(t, long))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args        []byte
		algorithm   compress.Algorithm
		dump        int
		least, most int
	}{
		"short":         {args: counterArgs(t, "x"), dump: 1},
		"long request":  {args: counterArgs(t, long), dump: 1, least: 1 << 20, most: 1<<20 + 100},
		"zipped":        {args: packed, algorithm: compress.Zstd, dump: 1, least: 1 << 20, most: 18 << 20},
		"long answer":   {args: counterArgs(t, "x"), dump: 10000, least: 1 << 20, most: 20 << 20},
		"broken zipped": {args: packed[:len(packed)/2], algorithm: compress.Zstd, dump: 1, most: 18 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			room := &counting{limit: 100 << 20}
			p, _ := opened(t, service(&handler{dump: publication(c.dump)}, nil), ServerOptions{Room: room.take})
			zip := func(m *requestMetadata) { m.compression = c.algorithm }
			method := "getCounter"
			if c.dump > 1 {
				method = "getKvStoreKeyValsFilteredArea"
			}
			p.send(asking(1, typeRequestResponse, method, c.args, zip), asking(3, typeRequestResponse, "getStatus", []byte{0}))
			p.recv()
			p.recv()
			p.send(asking(5, typeRequestResponse, "getStatus", []byte{0}))
			p.recv()
			room.mu.Lock()
			for deadline := time.Now().Add(30 * time.Second); room.now != 0 && time.Now().Before(deadline); { // it is given back after the answer has gone
				room.mu.Unlock()
				time.Sleep(time.Millisecond)
				room.mu.Lock()
			}
			defer room.mu.Unlock()
			if room.most < c.least || room.most > c.most || room.now != 0 {
				t.Errorf("at most %d bytes were taken, want %d to %d; %d are left", room.most, c.least, c.most, room.now)
			}
		})
	}
}

func TestNoRoom(t *testing.T) {
	room := &counting{limit: 1 << 20}
	client, server := loopback(t)
	_, wait := serve(t, server, service(&handler{}, nil), ServerOptions{Room: room.take})
	p := newPeer(t, client)
	p.write(appendSetup(nil, "", ""))
	p.recv()
	p.send(asking(1, typeRequestResponse, "getCounter", counterArgs(t, strings.Repeat("x", 2<<20))))
	if err := wait(); !errors.Is(err, ErrNoRoom) {
		t.Errorf("got %v", err)
	}
	if room.now != 0 {
		t.Errorf("%d bytes are left", room.now)
	}
}
