package kvstore

import (
	"context"

	"github.com/apache/thrift/lib/go/thrift"
	"golang.org/x/sync/semaphore"
)

// maxDumpedKeys bounds how many keys are being copied for dumps at the same time, so that many who ask for everything at
// once take turns instead of all memory. A dump of more keys than that waits until it is alone.
const maxDumpedKeys = 1 << 20

// maxDumps bounds how many dumps are made at the same time, however short: each takes a processor's time slice in turn with the
// loops of the modules, and a hello must not wait for hundreds of them.
const maxDumps = 16

// dumping runs f, which copies n keys, when it is its turn. Peers' stores do not wait for clients, nor clients for them.
func (k *KvStore) dumping(ctx context.Context, n int, peer bool, f func()) error {
	turns := k.dumps
	if peer {
		turns = k.syncs
	}
	weight := int64(max(min(n, maxDumpedKeys), maxDumpedKeys/maxDumps))
	if err := turns.Acquire(ctx, weight); err != nil {
		return err
	}
	release := func() { turns.Release(weight) }
	if h, ok := ctx.Value(heldKey{}).(*held); ok {
		h.release = append(h.release, release)
	} else {
		defer release()
	}
	f()
	return nil
}

type heldKey struct{}

// held collects what is given back when the answer to a request has been written.
type held struct{ release []func() }

// HoldDumps is a thrift.ProcessorMiddleware. Around a processor it makes a dump count as under way until its answer has been
// encoded, not only until it has been copied; without it the bound on dumps is weaker.
func HoldDumps(_ string, next thrift.TProcessorFunction) thrift.TProcessorFunction {
	return thrift.WrappedTProcessorFunction{
		Wrapped: func(ctx context.Context, seqID int32, in, out thrift.TProtocol) (bool, thrift.TException) {
			h := &held{}
			defer func() {
				for _, release := range h.release {
					release()
				}
			}()
			return next.Process(context.WithValue(ctx, heldKey{}, h), seqID, in, out)
		},
	}
}

func newTurns() *semaphore.Weighted { return semaphore.NewWeighted(maxDumpedKeys) }
