// Package ctrl is the control API, Open/R's Thrift services OpenrCtrl and OpenrCtrlCpp, over the modules.
//
// Owns: the fb303 options that clients set, the list of open streams, the measurements of its own methods. Reads: the
// modules, through the small interfaces it defines; the counters, the event log, the initialization events, the
// configuration, configuration files that clients name. Writes: when a client asks for it, values into kvstore, requests for
// own keys, drain state into linkmonitor, prefixes into prefixmanager, a policy into decision, configuration keys.
//
// It stands at the side of the data path: a request costs a module one function call on its goroutine, what is converted
// is converted on the caller's, and a module that does not answer costs the client an error. A stream is a subscription to
// a module that merges what its client has not fetched yet, so a slow client costs nothing but itself.
//
// Where C++ Open/R ignores bad input or answers wrongly, ctrl refuses with the exception that the method declares; the
// comments of the methods say where.
package ctrl
