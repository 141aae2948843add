package ctrl

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/openrendpoint"
)

// Options are what a Ctrl is made of. Config, the modules and KeyRequests are required.
type Options struct {
	Config   *config.Config
	Log      *zap.Logger
	Counters *monitor.Counters
	Events   *monitor.EventLog
	Init     *monitor.Initialization
	Version  string // of the program, for people

	KvStore       KvStore
	Spark         Spark
	LinkMonitor   LinkMonitor
	Decision      Decision
	Fib           Fib
	PrefixManager PrefixManager
	ConfigStore   ConfigStore // nil: the methods for configuration keys fail
	Agent         Agent       // nil: there is none beside the modules
	Endpoints     Endpoints   // nil: the methods of the endpoint directory fail

	KeyRequests *queue.Queue[msg.KeyRequests] // ctrl -> kvstore: keys that clients have this node originate
}

// Ctrl answers the methods of OpenrCtrl. Its methods may be called from any goroutine.
type Ctrl struct {
	Options
	started     time.Time
	profiler    *profiler
	subscribers *subscribers

	mu      sync.Mutex // guards options
	options map[string]string
}

var _ openrendpoint.OpenrEndpoint = (*Ctrl)(nil) // every method of every service

// New returns the service. It runs nothing by itself: serve its Service with package rpc.
func New(o Options) *Ctrl {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	c := &Ctrl{Options: o, started: time.Now(), profiler: newProfiler(), subscribers: newSubscribers(o.Counters), options: map[string]string{}}
	o.Counters.Source(c.profiler.gauges)
	return c
}

// How long a module may take to answer. They answer in microseconds, unless they have not started yet; dumps of the store may
// have to wait for others before them.
const (
	patience     = 5 * time.Second
	dumpPatience = time.Minute
)

// ask puts a question to a module. The error is fit for the client; if the module did not get to the question, it names
// the module.
func ask[T any](ctx context.Context, module string, question func(context.Context) (T, error)) (T, error) {
	return askFor(ctx, module, patience, question)
}

// askFor is ask with another patience.
func askFor[T any](ctx context.Context, module string, patience time.Duration, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := question(ctx)
	return answer, unanswered(module, err)
}

// tell has a module do something. The error is as that of ask.
func tell(ctx context.Context, module string, order func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return unanswered(module, order(ctx))
}

// unanswered adds to an error the name of the module that should have answered; what the module itself says is left as it
// is.
func unanswered(module string, err error) error {
	if errors.Is(err, queue.ErrStopped) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", module, err)
	}
	return err
}

// openrError makes the exception that the methods of OpenrCtrl declare; nil of nil.
func openrError(err error) error {
	if err == nil {
		return nil
	}
	return &openrctrl.OpenrError{Message: err.Error()}
}

func openrErrorf(format string, args ...any) error { return openrError(fmt.Errorf(format, args...)) }

// singleArea returns the only area. The methods that have no area argument are for nodes with one. The caller's name is
// for the counter.
func (c *Ctrl) singleArea(caller string) (string, error) {
	c.Counters.Count(cntSingleArea + caller)
	if ids := c.Config.AreaIDs(); len(ids) != 1 {
		return "", fmt.Errorf("this node has %d areas %q: name one", len(ids), ids)
	}
	return c.Config.Areas[0].ID, nil
}
