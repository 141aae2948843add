package zmtp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"go.uber.org/zap"
)

// Message is one ZeroMQ message: its parts, at least one, each possibly empty. Who sends a message gives it away, and must not
// change its bytes any more; who receives one owns it.
type Message [][]byte

// Options are what a socket needs from outside. The zero value of every field is a good default.
type Options struct {
	// Identity is what a DEALER or ROUTER is called by the ROUTERs it connects to: up to 255 bytes, the first of them not
	// zero. Empty: the ROUTER makes up a name for each connection.
	Identity string

	Keys KeyPair // the socket's own long-term keys, for CURVE; none: NULL only
	Mode Mode    // which mechanisms a listening socket takes
	// Authorise decides who may connect to a listening socket: an error keeps the peer out, and is logged. Strict needs it,
	// for CURVE alone proves only that the peer holds the key it says; otherwise nil lets everybody in. It is called from the
	// goroutine of the connection, before anything else is told of the peer, and may take until ctx ends. At a ROUTER whose
	// peers have names it should also check that Peer.Identity belongs to Peer.Key.
	Authorise func(ctx context.Context, p *Peer) error

	Heartbeat        Heartbeat
	HandshakeTimeout time.Duration // from the connection to the end of the handshake; 5 s
	WriteTimeout     time.Duration // a peer that takes nothing for so long is gone; 30 s, negative: never
	Limits           Limits
	Backoff          Backoff

	DropFull bool // what finds a DEALER's or ROUTER's queue full is dropped and counted; otherwise Send returns ErrFull. A PUB always drops.
	Handover bool // of a ROUTER: a newer connection takes an identity over; otherwise it is refused while the older one lives

	Listen func(ctx context.Context, address string) (net.Listener, error) // nil: TCP, address is host:port
	Dial   func(ctx context.Context, address string) (net.Conn, error)     // nil: TCP
	Random io.Reader                                                       // for keys and nonces; nil: the system's

	Log      *zap.Logger // nil: silent
	Counters Counters    // nil: nothing is counted
}

// Mode is which mechanisms a listening socket takes. The dialling side of CURVE is always the client, the listening side the
// server.
type Mode uint8

// The modes. Automatic is Strict if there are Keys, and NULL only otherwise.
const (
	Automatic  Mode = iota
	NullOnly        // NULL
	Strict          // CURVE; the socket does not dial with NULL either
	Compatible      // CURVE and NULL
)

// Heartbeat is how a connection is known to be alive. Any octet received is a sign of life.
type Heartbeat struct {
	Interval time.Duration // a PING is sent after so long without traffic in both directions; 1 s, negative: no heartbeats
	Timeout  time.Duration // without any sign of life for so long, the connection is closed; 3 s
	// TTL is told to the peer in each PING: the time after which it should give the connection up if nothing comes from us. In
	// steps of 0.1 s; 0: Timeout; negative: none is told.
	TTL time.Duration
}

// Limits bound what peers may cost. 0 stands for the default.
type Limits struct {
	Message         int // bytes of one message, all parts together, hence also of a frame, in both directions; 8 MiB
	Parts           int // parts of one message, in both directions; 64
	SendMessages    int // messages waiting for one peer; 1000
	SendBytes       int // bytes waiting for one peer, unless it is a single message; 4 MiB
	ReceiveMessages int // messages of one peer waiting for Recv; beyond, nothing more is read from that peer; 1000
	ReceiveBytes    int // the same in bytes, unless it is a single message; 4 MiB
	Connections     int // accepted connections; 1024
	PerPeer         int // accepted connections with one client key, or with NULL from one address; 64
	Handshakes      int // handshakes going on; beyond, the oldest gives way; 128
	Subscriptions   int // different subscriptions of one SUB, of 64 bytes on average; 16384
}

// Backoff is how long a dialling socket waits after a failure: Min, then twice as long each time up to Max, each a bit at
// random. After a peer's ERROR, which says that trying again is of no use before somebody changes something, it is Max at
// once. A connection that lived longer than the last wait starts it over.
type Backoff struct {
	Min, Max time.Duration // 100 ms, 5 s
}

// Counters is how the package counts; *monitor.Counters is one. Count adds one to a series, Sum adds v.
type Counters interface {
	Count(name string)
	Sum(name string, v int64)
}

// Endpoint is where to connect to.
type Endpoint struct {
	Address   string // as Options.Dial understands it
	ServerKey Key    // the public key that the server must have: CURVE; none: NULL
}

// Peer is the other end of a connection whose handshake is complete. It does not change.
type Peer struct {
	Identity   string   // as the peer calls itself; at a ROUTER never empty: Send takes it
	Key        Key      // its long-term public key; none with NULL, and with CURVE on the dialling side the server's
	SocketType string   // "DEALER", "ROUTER", "REQ", ...
	Address    net.Addr // the connection's remote address
	Dialled    string   // the Endpoint's address, "" for an accepted connection
	Minor      uint8    // ZMTP 3.Minor is what the peer speaks
}

// Secure tells whether the connection is encrypted and the peer has proved that it holds Key.
func (p *Peer) Secure() bool { return !p.Key.IsZero() }

func (p *Peer) String() string {
	name := p.Identity
	if name == "" || name[0] == 0 {
		name = "anonymous"
	}
	security := "NULL"
	if p.Secure() {
		security = "CURVE " + p.Key.String()
	}
	return fmt.Sprintf("%s %q at %v (%s)", p.SocketType, name, p.Address, security)
}

const maxIdentity = 255 // 37/ZMTP, the Identity property

// complete checks the options and fills in the defaults. The error names the field.
func (o *Options) complete() error {
	def := func(field *time.Duration, d time.Duration) {
		if *field == 0 {
			*field = d
		}
	}
	def(&o.Heartbeat.Interval, time.Second)
	def(&o.Heartbeat.Timeout, 3*time.Second)
	def(&o.Heartbeat.TTL, o.Heartbeat.Timeout)
	def(&o.HandshakeTimeout, 5*time.Second)
	def(&o.WriteTimeout, 30*time.Second)
	def(&o.Backoff.Min, 100*time.Millisecond)
	def(&o.Backoff.Max, max(5*time.Second, o.Backoff.Min))
	for _, l := range []struct {
		name  string
		field *int
		def   int
	}{
		{"Message", &o.Limits.Message, 8 << 20},
		{"Parts", &o.Limits.Parts, 64},
		{"SendMessages", &o.Limits.SendMessages, 1000},
		{"SendBytes", &o.Limits.SendBytes, 4 << 20},
		{"ReceiveMessages", &o.Limits.ReceiveMessages, 1000},
		{"ReceiveBytes", &o.Limits.ReceiveBytes, 4 << 20},
		{"Connections", &o.Limits.Connections, 1024},
		{"PerPeer", &o.Limits.PerPeer, 64},
		{"Handshakes", &o.Limits.Handshakes, 128},
		{"Subscriptions", &o.Limits.Subscriptions, 16384},
	} {
		if *l.field == 0 {
			*l.field = l.def
		}
		if *l.field < 1 {
			return fmt.Errorf("zmtp: Limits.%s is %d; it must be positive", l.name, *l.field)
		}
	}
	switch {
	case len(o.Identity) > maxIdentity:
		return fmt.Errorf("zmtp: Identity has %d bytes; at most %d are allowed", len(o.Identity), maxIdentity)
	case o.Identity != "" && o.Identity[0] == 0:
		return errors.New("zmtp: Identity begins with a zero byte; such identities are reserved")
	case o.Heartbeat.Interval > 0 && o.Heartbeat.Timeout <= o.Heartbeat.Interval:
		return fmt.Errorf("zmtp: Heartbeat.Timeout %v is not longer than Heartbeat.Interval %v", o.Heartbeat.Timeout, o.Heartbeat.Interval)
	case o.Heartbeat.TTL > maxTTL:
		return fmt.Errorf("zmtp: Heartbeat.TTL %v is longer than %v", o.Heartbeat.TTL, maxTTL)
	case o.HandshakeTimeout < 0:
		return fmt.Errorf("zmtp: HandshakeTimeout %v is negative", o.HandshakeTimeout)
	case o.Backoff.Min < 0 || o.Backoff.Max < o.Backoff.Min:
		return fmt.Errorf("zmtp: Backoff from %v to %v is not a range", o.Backoff.Min, o.Backoff.Max)
	case !o.Keys.Secret.IsZero() && o.Keys != PairOf(o.Keys.Secret):
		return errors.New("zmtp: Keys.Public does not belong to Keys.Secret")
	case o.Keys.Secret.IsZero() && !o.Keys.Public.IsZero():
		return errors.New("zmtp: Keys has no secret half")
	case o.Keys.Secret.IsZero() && (o.Mode == Strict || o.Mode == Compatible):
		return errors.New("zmtp: Mode asks for CURVE, but Keys is empty")
	case o.Mode > Compatible:
		return fmt.Errorf("zmtp: Mode %d does not exist", o.Mode)
	}
	if o.Mode == Automatic {
		o.Mode = NullOnly
		if !o.Keys.Secret.IsZero() {
			o.Mode = Strict
		}
	}
	if o.Listen == nil {
		o.Listen = func(ctx context.Context, address string) (net.Listener, error) {
			return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		}
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Counters == nil {
		o.Counters = uncounted{}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return nil
}
