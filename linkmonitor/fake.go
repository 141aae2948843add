package linkmonitor

import (
	"context"
	"errors"
	"sync"
)

// FakeLinks is a LinkSource for tests: a table of links that the test changes. Its methods may be called from any
// goroutine.
type FakeLinks struct {
	mu      sync.Mutex // guards what follows
	table   *linkTable
	emit    func([]LinkEvent) // nil while Run does not run
	fails   int
	deaf    bool
	stop    chan error
	syncs   int
	watches int
}

var _ LinkSource = (*FakeLinks)(nil)

// NewFakeLinks returns a source with a loopback interface (index 1, name lo, up).
func NewFakeLinks() *FakeLinks {
	f := &FakeLinks{table: newLinkTable(), stop: make(chan error, 1)}
	f.table.setLink(Link{Index: 1, Name: "lo", Up: true})
	return f
}

// Run implements LinkSource.
func (f *FakeLinks) Run(ctx context.Context, resync <-chan struct{}, emit func([]LinkEvent)) error {
	f.mu.Lock()
	f.emit = emit
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.emit = nil
		f.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-f.stop:
			return err
		case <-resync:
			f.sync()
		}
	}
}

func (f *FakeLinks) sync() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	if f.fails > 0 {
		f.fails--
		f.emit([]LinkEvent{{Kind: LinkSyncFailed, Err: errors.New("fake failure")}})
		return
	}
	f.emit([]LinkEvent{f.table.snapshot()})
}

// Apply changes the table and tells of it, unless changes are being lost.
func (f *FakeLinks) Apply(events ...LinkEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		f.table.apply(e)
	}
	if f.emit != nil && !f.deaf {
		f.emit(events)
	}
}

// Set adds or changes a link and adds usable addresses to it.
func (f *FakeLinks) Set(l Link, addrs ...Addr) {
	events := []LinkEvent{{Kind: LinkSet, Link: l}}
	for _, a := range addrs {
		a.Index, a.Usable = l.Index, true
		events = append(events, LinkEvent{Kind: AddrSet, Addr: a})
	}
	f.Apply(events...)
}

// Remove removes a link.
func (f *FakeLinks) Remove(index int) { f.Apply(LinkEvent{Kind: LinkGone, Link: Link{Index: index}}) }

// Lose makes the source swallow the changes that during makes, and then admit that it lost some.
func (f *FakeLinks) Lose(during func()) {
	f.mu.Lock()
	f.deaf = true
	f.mu.Unlock()
	during()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = false
	if f.emit != nil {
		f.emit([]LinkEvent{{Kind: LinkLost}})
	}
}

// Watch implements LinkSource: it looks once, at once, and tells of links and addresses as they are.
func (f *FakeLinks) Watch(w Watch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watches++
	var events []LinkEvent
	for _, known := range w.Links {
		if l, ok := f.table.links[known.Index]; ok && l != known {
			events = append(events, LinkEvent{Kind: LinkSet, Link: l})
		}
	}
	for _, index := range w.Addrs {
		for k, state := range f.table.addrs[index] {
			a := Addr{Index: index, Prefix: k.prefix, Peer: k.peer, Usable: state.usable, Tentative: state.tentative}
			events = append(events, LinkEvent{Kind: AddrSet, Addr: a})
		}
	}
	if f.emit != nil && len(events) > 0 {
		f.emit(events)
	}
}

// SkipDAD implements LinkSource: the address becomes usable.
func (f *FakeLinks) SkipDAD(a Addr) {
	a.Usable, a.Tentative = true, false
	f.Apply(LinkEvent{Kind: AddrSet, Addr: a})
}

// Silently changes the table without telling of it, as a kernel does that delays its notifications.
func (f *FakeLinks) Silently(events ...LinkEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		f.table.apply(e)
	}
}

// Watches returns how often Watch was called.
func (f *FakeLinks) Watches() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.watches
}

// FailSyncs makes the next n snapshots fail.
func (f *FakeLinks) FailSyncs(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = n
}

// Syncs returns how many snapshots were asked for.
func (f *FakeLinks) Syncs() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.syncs
}

// Fail makes Run return err.
func (f *FakeLinks) Fail(err error) { f.stop <- err }
