package rpc

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"openr/monitor"
)

// TLSFiles names the PEM files of one side of TLS: the authorities that the other side's certificate must come from, and
// this side's certificate chain and key.
type TLSFiles struct{ CA, Cert, Key string }

// checkEvery is how often files are looked at, at most, and only when there is a handshake.
const checkEvery = time.Second

// material is what the files held when they were last read.
type material struct {
	roots *x509.CertPool      // nil: no CA file
	cert  *tls.Certificate    // nil: no certificate
	seeds [][sha256.Size]byte // session ticket keys, the first one for new tickets; nil: no seed file
}

// stamp tells one version of a file from the next.
type stamp struct {
	modified time.Time
	size     int64
	inode    uint64
}

// store reads TLS files and reads them anew when they have changed. Its methods may be called from any goroutine.
type store struct {
	files    TLSFiles
	seeds    string // file of session ticket seeds; "": none
	log      *zap.Logger
	counters *monitor.Counters
	now      func() time.Time

	mu       sync.Mutex // guards what follows
	held     *material
	stamps   []stamp   // of the files that held was read from
	looked   time.Time // when the files were looked at last
	reported []stamp   // of the files that failed to load and were warned about
}

// newStore reads the files for the first time; now they must be right.
func newStore(files TLSFiles, seeds string, log *zap.Logger, counters *monitor.Counters) (*store, error) {
	if log == nil {
		log = zap.NewNop()
	}
	s := &store{files: files, seeds: seeds, log: log, counters: counters, now: time.Now}
	var err error
	s.stamps = s.look()
	s.looked = s.now()
	s.held, err = load(files, seeds)
	return s, err
}

// current returns what the files hold, or held before they went bad.
func (s *store) current() *material {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if now.Sub(s.looked) < checkEvery && !now.Before(s.looked) {
		return s.held
	}
	s.looked = now
	stamps := s.look()
	if slices.Equal(stamps, s.stamps) {
		return s.held
	}
	fresh, err := load(s.files, s.seeds)
	if err != nil { // perhaps half of them are written: try again at the next look
		if !slices.Equal(stamps, s.reported) {
			s.reported = stamps
			s.counters.Count(counterReloadError)
			s.log.Warn("TLS files changed and do not load; using what they held before", zap.Error(err))
		}
		return s.held
	}
	s.held, s.stamps, s.reported = fresh, stamps, nil
	s.counters.Count(counterReload)
	s.log.Info("TLS files changed and were loaded", zap.String("certificate", s.files.Cert))
	return s.held
}

// look takes the stamps of all files; a missing one has an empty stamp.
func (s *store) look() []stamp {
	var stamps []stamp
	for _, name := range []string{s.files.CA, s.files.Cert, s.files.Key, s.seeds} {
		var st stamp
		if info, err := os.Stat(name); name != "" && err == nil {
			st = stamp{modified: info.ModTime(), size: info.Size()}
			if sys, ok := info.Sys().(*syscall.Stat_t); ok {
				st.inode = sys.Ino
			}
		}
		stamps = append(stamps, st)
	}
	return stamps
}

func load(files TLSFiles, seeds string) (*material, error) {
	m := &material{}
	if files.CA != "" {
		pem, err := os.ReadFile(files.CA)
		if err != nil {
			return nil, fmt.Errorf("CA certificates: %w", err)
		}
		m.roots = x509.NewCertPool()
		if !m.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA certificates: %s holds no certificate in PEM form", files.CA)
		}
	}
	if files.Cert != "" || files.Key != "" {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate %q with key %q: %w", files.Cert, files.Key, err)
		}
		m.cert = &pair
	}
	var err error
	m.seeds, err = loadSeeds(seeds)
	return m, err
}

// loadSeeds reads session ticket seeds as fbthrift's servers take them: a JSON object with the lists "old", "current" and
// "new" of hexadecimal strings. New tickets are made with the first current one; those made with any are taken. The
// file need not exist.
func loadSeeds(name string) ([][sha256.Size]byte, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ticket seeds: %w", err)
	}
	seeds, err := parseSeeds(text)
	if err != nil {
		return nil, fmt.Errorf("ticket seeds in %s: %w", name, err)
	}
	return seeds, nil
}

func parseSeeds(text []byte) ([][sha256.Size]byte, error) {
	var lists struct{ Current, New, Old []string }
	if err := json.Unmarshal(text, &lists); err != nil {
		return nil, fmt.Errorf(`want {"old": [...], "current": [...], "new": [...]}: %w`, err)
	}
	var keys [][sha256.Size]byte
	for _, s := range slices.Concat(lists.Current, lists.New, lists.Old) {
		seed, err := hex.DecodeString(s)
		if err != nil {
			return nil, fmt.Errorf("a seed that is not hexadecimal: %w", err)
		}
		if len(seed) == 0 {
			return nil, errors.New("an empty seed")
		}
		keys = append(keys, sha256.Sum256(seed))
	}
	if len(lists.Current) == 0 {
		return nil, errors.New(`no seed in "current"`)
	}
	return keys, nil
}
