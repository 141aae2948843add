package rpc

// The server's counters. All but the gauges are series of kind count. What goes wrong on a connection is counted under
// rpc.server.error by its cause, and costs that connection alone unless said otherwise.
const (
	counterConnections = "rpc.server.connections"          // gauge: open connections
	counterReceiving   = "rpc.server.receiving_bytes"      // gauge: memory of the budget for messages in use
	counterWorking     = "rpc.server.working_bytes"        // gauge: memory of the budget for long requests that are worked on and long answers in use
	counterInFlight    = "rpc.server.in_flight"            // gauge: requests being worked on
	counterAccepted    = "rpc.server.accepted"             // connections accepted
	counterRefused     = "rpc.server.refused"              // connections closed at once, because one of the limits was reached
	counterOffences    = "rpc.server.offences."            // connections and requests that were not as they should be, by network: for a link-local address the name of its interface
	counterAcceptError = "rpc.server.accept_error"         // failures to accept, each retried
	counterRequests    = "rpc.server.requests"             // THeader, framed and unframed messages handed to the service
	counterTLS         = "rpc.server.tls"                  // TLS handshakes that succeeded
	counterRocket      = "rpc.server.rocket"               // connections that spoke Rocket
	counterUpgraded    = "rpc.server.upgraded"             // of these, those that began with THeader
	counterErrors      = "rpc.server.error."               // the following, by cause
	counterTooLarge    = "rpc.server.error.frame_size"     // messages that claim to be longer than the limit, or empty
	counterNotThrift   = "rpc.server.error.not_thrift"     // frames that begin like no known dialect
	counterHTTP        = "rpc.server.error.http"           // connections that spoke HTTP
	counterSilent      = "rpc.server.error.silent"         // connections that sent nothing in the time for a handshake
	counterTimeout     = "rpc.server.error.timeout"        // messages begun but not finished in time, answers not taken in time
	counterTruncated   = "rpc.server.error.truncated"      // connections that ended in the middle of a message
	counterMalformed   = "rpc.server.error.malformed"      // messages that do not decode
	counterMemory      = "rpc.server.error.memory"         // messages given up because all together took too much memory
	counterPanic       = "rpc.server.error.panic"          // handlers that panicked; the connection goes on
	counterReplySize   = "rpc.server.error.reply_too_long" // answers longer than the limit, replaced by an exception; the connection goes on
	counterBusy        = "rpc.server.error.busy"           // requests refused because too many were being worked on; the connection goes on
	counterNoTLS       = "rpc.server.error.plaintext"      // plaintext connections where TLS is required
	counterNotTLS      = "rpc.server.error.tls_unexpected" // TLS connections where only plaintext is spoken
	counterHandshake   = "rpc.server.error.tls_handshake"  // TLS handshakes that failed
	counterPeer        = "rpc.server.error.tls_peer"       // clients whose certificate does not verify, is missing, or names nobody acceptable
	counterReload      = "rpc.tls.reload"                  // certificates or ticket seeds taken over from changed files
	counterReloadError = "rpc.tls.reload_error"            // changed files that did not load; what was loaded before stays in use
)
