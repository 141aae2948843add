package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/platform"
)

// explain turns an error of a connection to who ("openr", "the switch agent") at addr into what an operator needs to know.
func (a *app) explain(who, addr string, err error) error {
	var (
		code     exitCode
		usage    *usageError
		known    *explained
		failed   *openrctrl.OpenrError
		kv       *kvstore.KvStoreError
		agent    *platform.PlatformError
		update   *platform.PlatformFibUpdateError
		remote   thrift.TApplicationException
		network  net.Error
		lookup   *net.DNSError
		number   syscall.Errno
		distrust *tls.CertificateVerificationError
		record   tls.RecordHeaderError
	)
	alert, refused := tlsAlert(err)
	says := func(format string, args ...any) error { return &explained{fmt.Sprintf(format, args...), err} }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &code), errors.As(err, &usage), errors.As(err, &known):
		return err
	case errors.As(err, &failed):
		return says("%s", failed.Message)
	case errors.As(err, &kv):
		return says("%s", kv.Message)
	case errors.As(err, &agent):
		return says("%s", agent.Message)
	case errors.As(err, &update):
		return says("%s at %s did not program everything: %d prefixes and %d labels failed", who, addr, failedPrefixes(update),
			len(update.FailedAddUpdateMplsLabels)+len(update.FailedDeleteMplsLabels))
	case errors.As(err, &remote) && remote.TypeId() == thrift.UNKNOWN_METHOD:
		return says("%s at %s does not know this question: %s", who, addr, remote.Error())
	case errors.As(err, &remote):
		return says("%s at %s failed to answer: %s", who, addr, remote.Error())
	case errors.Is(err, context.Canceled):
		return says("interrupted")
	case errors.As(err, &lookup):
		return says("cannot find out the address of %s: %s", lookup.Name, lookup.Err)
	case errors.As(err, &distrust):
		return says("%s at %s is not trusted: %s", who, addr, lastError(err))
	case errors.As(err, &record):
		return says("%s at %s does not speak TLS", who, addr)
	case refused:
		return says("%s at %s refuses our side of TLS: %s - which certificates does it want? see --cert-file and --key-file", who, addr, alert)
	case errors.Is(err, syscall.EINVAL) && linkLocal(a.host):
		return says("%s is a link-local address: say on which interface, as in %s%%eth0", a.host, a.host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return says("cannot reach %s at %s: connection refused - is it running?", who, addr)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return says("cannot reach %s at %s: no answer within %s", who, addr, a.timeout)
	case silent(err):
		if a.tls.use {
			return says("%s at %s closed the connection - is this its control port?", who, addr)
		}
		return says("%s at %s closed the connection - is this its control port, and does it want --ssl?", who, addr)
	case errors.As(err, &network) && errors.As(err, &number):
		return says("cannot reach %s at %s: %s", who, addr, number)
	case errors.As(err, &network):
		return says("cannot reach %s at %s: %s", who, addr, err)
	}
	return err
}

// explained is an error in the words of explain.
type explained struct {
	text  string
	cause error
}

func (e *explained) Error() string { return e.text }

func (e *explained) Unwrap() error { return e.cause }

func lastError(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func failedPrefixes(e *platform.PlatformFibUpdateError) int {
	n := 0
	for _, prefixes := range e.Vrf2failedAddUpdatePrefixes {
		n += len(prefixes)
	}
	for _, prefixes := range e.Vrf2failedDeletePrefixes {
		n += len(prefixes)
	}
	return n
}

// linkLocal reports whether host is a link-local address that does not say on which interface.
func linkLocal(host string) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLinkLocalUnicast() && addr.Zone() == ""
}

// unknownMethod reports whether the other side lacks a method.
func unknownMethod(err error) bool {
	var remote thrift.TApplicationException
	return errors.As(err, &remote) && remote.TypeId() == thrift.UNKNOWN_METHOD
}
