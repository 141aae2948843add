package coop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"openr/zmtp"
)

// Transport is how a shell reaches others. The zero value speaks in the clear over TCP.
type Transport struct {
	// Mode is zmtp.Strict (CURVE, and every peer must hold the key that its membership says), zmtp.Compatible (also in the
	// clear, where a peer is who it says) or zmtp.NullOnly. Automatic is Strict if there are Keys.
	Mode zmtp.Mode
	Keys zmtp.KeyPair

	Listen func(ctx context.Context, address string) (net.Listener, error) // nil: TCP, address is host:port
	Dial   func(ctx context.Context, address string) (net.Conn, error)     // nil: TCP
}

// complete settles the mode.
func (t *Transport) complete() {
	if t.Mode == zmtp.Automatic {
		t.Mode = zmtp.NullOnly
		if !t.Keys.Secret.IsZero() {
			t.Mode = zmtp.Strict
		}
	}
}

func (t *Transport) options(identity string, auth func(context.Context, *zmtp.Peer) error) zmtp.Options {
	return zmtp.Options{Identity: identity, Mode: t.Mode, Keys: t.Keys, Authorise: auth, Listen: t.Listen, Dial: t.Dial, Handover: true}
}

// endpointOf returns where and how to dial a socket of a member.
func (t *Transport) endpointOf(m *Member, address string) (zmtp.Endpoint, error) {
	e := zmtp.Endpoint{Address: address}
	if m.Key == "" || t.Keys.Secret.IsZero() {
		if t.Mode == zmtp.Strict {
			return e, fmt.Errorf("coop: %s has no key, and the mode is strict", m.Node)
		}
		return e, nil
	}
	var err error
	e.ServerKey, err = zmtp.ParseKey(m.Key)
	return e, err
}

// identity is what a node calls itself towards ROUTER sockets: a node may be leaf and oracle at once.
func identity(role Role, node string) string { return role.String() + ":" + node }

// parseIdentity reads what identity returns.
func parseIdentity(s string) (Role, string, error) {
	role, node, found := strings.Cut(s, ":")
	var r Role
	if err := r.UnmarshalText([]byte(role)); !found || err != nil || node == "" || len(node) > MaxName {
		return 0, "", fmt.Errorf("coop: identity %.64q: want leaf:<node> or oracle:<node>", s)
	}
	return r, node, nil
}

// roster says which key belongs to whom. CURVE alone proves only that a peer holds the key that it says.
type roster struct {
	strict bool

	mu   sync.Mutex          // guards what follows
	keys map[string]zmtp.Key // by identity
	uses map[zmtp.Key]int    // how many identities have the key
}

func newRoster(t *Transport) *roster {
	return &roster{strict: t.Mode == zmtp.Strict, keys: map[string]zmtp.Key{}, uses: map[zmtp.Key]int{}}
}

// set takes the key of a member; a member without one cannot have a strict session.
func (r *roster) set(m *Member) error {
	key, err := zmtp.Key{}, error(nil)
	if m.Key != "" {
		key, err = zmtp.ParseKey(m.Key)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(identity(m.Role, m.Node))
	if !key.IsZero() {
		r.keys[identity(m.Role, m.Node)] = key
		r.uses[key]++
	}
	return err
}

func (r *roster) remove(role Role, node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(identity(role, node))
}

func (r *roster) drop(id string) {
	if key, ok := r.keys[id]; ok {
		delete(r.keys, id)
		if r.uses[key]--; r.uses[key] == 0 {
			delete(r.uses, key)
		}
	}
}

var errUnknownKey = errors.New("coop: the key is no member's")

// session decides on a peer of the ROUTER: its key has to be that of the node whose name it bears.
func (r *roster) session(_ context.Context, p *zmtp.Peer) error {
	if _, _, err := parseIdentity(p.Identity); err != nil {
		return err
	}
	if !p.Secure() {
		if r.strict {
			return errUnknownKey
		}
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key, ok := r.keys[p.Identity]
	switch {
	case !ok:
		return fmt.Errorf("coop: %q is not a member with a key", p.Identity)
	case key != p.Key:
		return fmt.Errorf("coop: %q does not have the key %v", p.Identity, p.Key)
	}
	return nil
}

// subscriber decides on a peer of the PUB: its key has to be some member's.
func (r *roster) subscriber(_ context.Context, p *zmtp.Peer) error {
	if !p.Secure() {
		if r.strict {
			return errUnknownKey
		}
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uses[p.Key] == 0 {
		return errUnknownKey
	}
	return nil
}
