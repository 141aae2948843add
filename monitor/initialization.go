package monitor

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/thrift/gen/kvstore"
)

// Stage is a step of starting up. Stages are events, not timers: each is reached when what it waits for has happened
// (Open/R docs, Protocol_Guide/Initialization_Process.md).
type Stage = kvstore.InitializationEvent

// The stages, in the order in which a node reaches them.
const (
	Initializing       = kvstore.InitializationEvent_INITIALIZING
	AgentConfigured    = kvstore.InitializationEvent_AGENT_CONFIGURED
	LinkDiscovered     = kvstore.InitializationEvent_LINK_DISCOVERED
	NeighborDiscovered = kvstore.InitializationEvent_NEIGHBOR_DISCOVERED
	KvStoreSynced      = kvstore.InitializationEvent_KVSTORE_SYNCED
	AdjacencyDBSynced  = kvstore.InitializationEvent_ADJACENCY_DB_SYNCED
	RIBComputed        = kvstore.InitializationEvent_RIB_COMPUTED
	FIBSynced          = kvstore.InitializationEvent_FIB_SYNCED
	PrefixDBSynced     = kvstore.InitializationEvent_PREFIX_DB_SYNCED
	Initialized        = kvstore.InitializationEvent_INITIALIZED
)

// Order is the stages in the order in which a node reaches them, without INITIALIZING, which it begins with.
func Order() []Stage {
	return []Stage{
		AgentConfigured, LinkDiscovered, NeighborDiscovered, KvStoreSynced, AdjacencyDBSynced, RIBComputed, FIBSynced, PrefixDBSynced,
		Initialized,
	}
}

// Initialization records when each stage was reached and tells whoever waits. All methods may be called from any
// goroutine; those of a nil *Initialization record nothing, and Done then returns a channel that never closes.
type Initialization struct {
	log      *zap.Logger
	counters *Counters
	start    time.Time

	mu    sync.Mutex // guards what follows
	done  map[Stage]chan struct{}
	times map[Stage]time.Duration
}

// NewInitialization starts the clock.
func NewInitialization(log *zap.Logger, counters *Counters) *Initialization {
	if log == nil {
		log = zap.NewNop()
	}
	i := &Initialization{log: log, counters: counters, start: time.Now(), done: map[Stage]chan struct{}{}, times: map[Stage]time.Duration{}}
	i.Reached(Initializing)
	return i
}

// Reached records that stage s has been reached. Only the first call for a stage counts.
func (i *Initialization) Reached(s Stage) {
	if i == nil {
		return
	}
	i.mu.Lock()
	_, again := i.times[s]
	elapsed := time.Since(i.start)
	if !again {
		i.times[s] = elapsed
		close(i.channel(s))
	}
	i.mu.Unlock()
	if !again {
		i.counters.Set("initialization."+s.String()+".duration_ms", elapsed.Milliseconds())
		i.log.Info("initialization", zap.Stringer("stage", s), zap.Duration("after", elapsed.Round(time.Millisecond)))
	}
}

// Done returns a channel that is closed when stage s has been reached.
func (i *Initialization) Done(s Stage) <-chan struct{} {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.channel(s)
}

// channel returns the channel of stage s. The caller holds mu.
func (i *Initialization) channel(s Stage) chan struct{} {
	if i.done[s] == nil {
		i.done[s] = make(chan struct{})
	}
	return i.done[s]
}

// Start returns when the clock was started.
func (i *Initialization) Start() time.Time {
	if i == nil {
		return time.Time{}
	}
	return i.start
}

// Times returns the stages reached so far, each with the time since start.
func (i *Initialization) Times() map[Stage]time.Duration {
	out := map[Stage]time.Duration{}
	if i == nil {
		return out
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for s, d := range i.times {
		out[s] = d
	}
	return out
}
