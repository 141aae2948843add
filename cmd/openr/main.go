// Command openr runs the routing agent in the foreground, checks configurations, and builds laboratories of network
// namespaces with an agent in each.
//
//	openr --config /etc/openr/openr.conf      run the agent
//	openr config check FILE                   name every mistake in a configuration
//	openr platform                            offer the kernel's routing table as a FibService
//	openr lab up --topology clos:2x2          a fabric to play with
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"openr/agent"
	"openr/config"
	"openr/internal/crash"
	"openr/preflight"
)

// version is set by the build: -ldflags "-X main.version=...".
var version = "development"

// maxProcs is how many processors the agent uses at most, unless the environment variable GOMAXPROCS says otherwise.
const maxProcs = 2

func main() {
	err := command().Execute()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "openr:", err)
	os.Exit(exitStatus(err))
}

// The exit statuses other than 0 (a stop that was asked for) and 1 (the agent could not start), as in sysexits.h.
const (
	exSoftware = 70 // EX_SOFTWARE: a module failed, hung or took too much memory; the log says which. To be started again.
	exConfig   = 78 // EX_CONFIG: a configuration that cannot be used; starting again would not help
)

func exitStatus(err error) int {
	switch {
	case errors.As(err, new(configError)):
		return exConfig
	case errors.As(err, new(failure)):
		return exSoftware
	}
	return 1
}

// configError is why a configuration cannot be used.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// failure is why a running agent had to end.
type failure struct{ error }

func (e failure) Unwrap() error { return e.error }

func command() *cobra.Command {
	var file, level string
	root := &cobra.Command{
		Use:           "openr",
		Short:         "A link-state routing agent that speaks Open/R",
		Version:       version,
		Args:          noFile,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(*cobra.Command, []string) error { return run(file, level) },
	}
	root.Flags().StringVar(&file, "config", "", "configuration file; without one the agent runs on defaults")
	root.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")

	check := &cobra.Command{
		Use:   "check FILE",
		Short: "Name every mistake in a configuration file; exit status 1 if there is one",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("which file? usage: openr config check FILE")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if !config.Check(args[0], os.Stdout) {
				return fmt.Errorf("%s: configuration is not valid", args[0])
			}
			return nil
		},
	}
	conf := &cobra.Command{
		Use:   "config",
		Short: "Work with configuration files",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	conf.AddCommand(check)
	root.AddCommand(conf, platformCommand(), labCommand())
	return root
}

// noFile refuses arguments, among them a configuration without the flag that belongs before it.
func noFile(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if info, err := os.Stat(args[0]); err == nil && info.Mode().IsRegular() {
		return fmt.Errorf("%q is a file, not a command: to run on it say openr --config %s", args[0], args[0])
	}
	return fmt.Errorf("unknown command %q; openr --help lists them", args[0])
}

// run is the agent's whole life. It returns nil after SIGTERM, SIGINT or drainAndStop.
func run(file, level string) error {
	log, err := logger(level)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }()

	cfg, err := configuration(file, log)
	if err != nil {
		return configError{err}
	}
	if err := check(cfg, log); err != nil {
		return err
	}
	// Idle processors are left asleep: each one more that the scheduler may use costs wake-ups with every hello.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(min(runtime.NumCPU(), maxProcs))
	}
	tuneCollector()
	limitMemory(cfg.Watchdog)

	told, deaf := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer deaf()
	forgetIntent(leaveFile(), log)
	a, err := agent.New(told, agent.Options{Config: cfg, Log: log, Version: version})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { defer crash.Guard(); whenTold(told, ctx, a, leaveFile(), stop, log) }()
	log.Info("running", zap.String("node", cfg.NodeName), zap.Strings("areas", cfg.AreaIDs()), zap.String("version", version))
	defer onSignals(func() {
		if err := a.Reload(func() error { return unchanged(cfg, file, log) }); err != nil {
			log.Warn("the configuration was not reloaded", zap.Error(err))
		}
	}, syscall.SIGHUP)()
	// SIGABRT is what the service manager sends when it has had no sign of life for too long, SIGQUIT what people send to see
	// where a program hangs. The stacks go into the log, there is no core dump, and the neighbours are told.
	defer onSignals(func() { a.Abort(errAborted) }, syscall.SIGABRT, syscall.SIGQUIT)()
	defer crash.Handle(a.Panicked)()
	err = a.Run(ctx)
	log.Info("stopped; routes stay in place", zap.String("node", cfg.NodeName))
	if err != nil {
		return failure{err}
	}
	return nil
}

var errAborted = errors.New("ended from outside, by SIGABRT or SIGQUIT")

// onSignals calls f whenever the process gets one of the signals, until the returned function is called.
func onSignals(f func(), signals ...os.Signal) (stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, signals...)
	done := make(chan struct{})
	go func() {
		defer crash.Guard()
		for {
			select {
			case <-done:
				return
			case <-c:
				f()
			}
		}
	}()
	return func() { signal.Stop(c); close(done) }
}

// unchanged returns why the configuration that the file holds now cannot take the place of the running one: it has mistakes,
// or it is another. Settings are read at the start only; a restart costs no packet.
func unchanged(running *config.Config, file string, log *zap.Logger) error {
	next, err := configuration(file, log)
	switch {
	case err != nil:
		return err
	case !next.Equal(running):
		return fmt.Errorf("%s has changed and is valid: restart the agent, which takes nothing out of service", file)
	}
	return nil
}

// configuration loads the file, or makes the default configuration if there is none, and logs what is odd about it.
func configuration(file string, log *zap.Logger) (*config.Config, error) {
	if file == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("no configuration file and no host name to name the node after: %w", err)
		}
		log.Info("no --config given: running on defaults")
		return config.Default(host), nil
	}
	cfg, warnings, err := config.Load(file)
	for _, w := range warnings {
		log.Warn("configuration", zap.String("warning", w.String()))
	}
	return cfg, err
}

// check looks whether this machine can run the agent. What cannot be worked around is an error that says how to mend it.
func check(cfg *config.Config, log *zap.Logger) error {
	var fatal []error
	for _, p := range preflight.Run(cfg) {
		if p.Fatal {
			fatal = append(fatal, fmt.Errorf("%s: %s; %s", p.What, p.Why, p.Mend))
			continue
		}
		log.Warn(p.What, zap.String("why", p.Why), zap.String("mend", p.Mend))
	}
	return errors.Join(fatal...)
}

func logger(level string) (*zap.Logger, error) {
	l, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("--log-level %s: want debug, info, warn or error", level)
	}
	c := zap.NewProductionConfig()
	c.Level = zap.NewAtomicLevelAt(l)
	c.Encoding = "console"
	c.Sampling = nil
	c.DisableStacktrace = true
	c.DisableCaller = true
	c.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	return c.Build()
}
