// Package ctrl is the control API, Open/R's Thrift service OpenrCtrl, over the modules.
//
// Owns: the fb303 options that clients set. Reads: the modules, through the small interfaces it defines; the counters, the
// event log, the initialization events, the configuration. Writes: values into kvstore and requests for own keys, when a
// client asks for it.
//
// It stands at the side of the data path: a request costs a module one function call on its goroutine, and a module that
// does not answer costs the client an error. Methods of OpenrCtrl that are not implemented are unknown to the service, and
// clients are told so (TApplicationException UNKNOWN_METHOD) instead of being given made-up answers.
package ctrl
