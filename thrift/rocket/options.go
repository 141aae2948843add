package rocket

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"openr/monitor"
	"openr/thrift/compress"
	"openr/thrift/invoke"
)

// Defaults of ServerOptions and ClientOptions.
const (
	DefaultMaxMessage    = 64 << 20
	DefaultMaxInFlight   = 64
	DefaultMaxStreams    = 64
	DefaultWriteTimeout  = 60 * time.Second // as fbthrift
	DefaultFrameTimeout  = 30 * time.Second
	DefaultCreditTimeout = 60 * time.Second // as fbthrift
	DefaultStopGrace     = 5 * time.Second
	DefaultStreamBuffer  = 100 // elements; as fbthrift
)

// ErrNoRoom ends a connection for want of memory, which is the business of whoever refused it: it is not counted.
var ErrNoRoom = errors.New("no room left")

// ServerOptions are the limits of a connection to a client. Zero values mean the defaults.
type ServerOptions struct {
	// MaxMessage is the longest request in bytes, all its fragments together, and as decompressed too. Longer answers are
	// refused in the same way.
	MaxMessage int
	// MaxInFlight is how many requests of the connection run or wait at a time. While there are so many, nothing is read.
	MaxInFlight int
	// MaxStreams is how many streams of the connection may be open at a time. More are refused.
	MaxStreams int

	IdleTimeout   time.Duration // close when nothing came for so long and nothing runs; 0: never
	FrameTimeout  time.Duration // for SETUP, and for a frame that has begun; long frames have more, see minRate
	WriteTimeout  time.Duration // for the client to take what is sent
	CreditTimeout time.Duration // how long a stream may be without credit
	StopGrace     time.Duration // how long requests may go on after ctx is done

	// Room, if set, is asked when the connection takes n more bytes for a long request that is worked on, or a long answer
	// until the client has taken it, and is told when it gives them back (n < 0). ErrNoRoom means that there are none left,
	// and ends the connection. It is called from any goroutine.
	Room func(n int) error
	// RoomToAnswer is asked instead of Room for long answers. nil: Room is.
	RoomToAnswer func(n int) error

	Log      *zap.Logger
	Counters *monitor.Counters
}

func (o ServerOptions) withDefaults() ServerOptions {
	setDefault(&o.MaxMessage, DefaultMaxMessage)
	setDefault(&o.MaxInFlight, DefaultMaxInFlight)
	setDefault(&o.MaxStreams, DefaultMaxStreams)
	setDefault(&o.FrameTimeout, DefaultFrameTimeout)
	setDefault(&o.WriteTimeout, DefaultWriteTimeout)
	setDefault(&o.CreditTimeout, DefaultCreditTimeout)
	setDefault(&o.StopGrace, DefaultStopGrace)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o
}

// ClientOptions shape a connection to a server. Zero values mean the defaults.
type ClientOptions struct {
	MaxMessage     int           // longest answer in bytes, all its fragments together, and as decompressed too
	RequestTimeout time.Duration // for calls whose context allows more, and told to the server; 0: as long as the context
	WriteTimeout   time.Duration // for the server to take what is sent; then the connection is closed
	StreamBuffer   int           // elements that a stream holds until they are taken

	// Encoding of arguments and results. The zero value is invoke.Binary; Open/R's control API is always asked in
	// invoke.Compact.
	Encoding invoke.Encoding
	// Compression, if not None, compresses every body, however short, as Open/R's peers do, and asks the server to
	// compress its answers.
	Compression compress.Algorithm

	Agent    string // what the client calls itself in SETUP
	Hostname string

	Log *zap.Logger
}

func (o ClientOptions) withDefaults() ClientOptions {
	setDefault(&o.MaxMessage, DefaultMaxMessage)
	setDefault(&o.WriteTimeout, DefaultWriteTimeout)
	setDefault(&o.StreamBuffer, DefaultStreamBuffer)
	if o.Agent == "" {
		o.Agent = "openr"
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
