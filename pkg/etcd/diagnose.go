package etcd

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// ErrUnavailable says that a module, a toolchain or an archive can not be had,
// now or from where the settings say.
var ErrUnavailable = errors.New("not to be had")

// unavailable makes an error an ErrUnavailable without a word more.
type unavailable struct{ error }

func (e unavailable) Unwrap() []error { return []error{e.error, ErrUnavailable} }

// ChecksumError says that a module which was downloaded, or which lies in the
// module cache, is not the one that the lock pins.
type ChecksumError struct {
	Module string // path@version, with /go.mod where that file alone differs
	Got    string // h1: sum of what there is
	Want   string // h1: sum that is pinned, or that the checksum database has
	By     string // who wants it: go.sum, or the name of the checksum database
}

func (e *ChecksumError) Error() string {
	return fmt.Sprintf("checksum mismatch: %s is %s, but %s has %s: whoever served it changed it, or the module cache is damaged; "+
		"nothing of it was used; run go clean -modcache, and look at GOPROXY if it happens again", e.Module, e.Got, e.By, e.Want)
}

// output collects what the go command writes to stderr, line by line.
type output struct {
	onLine func(string) // may be nil

	mu      sync.Mutex
	partial []byte
	lines   []string // the last ones
}

const keptLines = 200

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partial = append(o.partial, p...)
	for {
		i := bytes.IndexByte(o.partial, '\n')
		if i < 0 {
			return len(p), nil
		}
		o.add(string(o.partial[:i]))
		o.partial = o.partial[i+1:]
	}
}

func (o *output) add(line string) {
	line = strings.TrimRight(line, "\r")
	if len(o.lines) >= keptLines {
		o.lines = slices.Delete(o.lines, 0, 1)
	}
	o.lines = append(o.lines, line)
	if o.onLine != nil {
		o.onLine(line)
	}
}

// text is all that was kept.
func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(append(slices.Clone(o.lines), string(o.partial)), "\n")
}

// indented returns the last n lines that are worth a reader's time, each on a
// line of its own; "" where there are none.
func (o *output) indented(n int) string {
	var kept []string
	for _, l := range strings.Split(o.text(), "\n") {
		if strings.TrimSpace(l) != "" && !packageLine.MatchString(l) && !strings.HasPrefix(l, downloading) {
			kept = append(kept, l)
		}
	}
	if len(kept) > n {
		kept = kept[len(kept)-n:]
	}
	var b strings.Builder
	for _, l := range kept {
		b.WriteString("\n\t" + l)
	}
	return b.String()
}

const downloading = "go: downloading "

var (
	// packageLine is what go build -v prints for each package.
	packageLine = regexp.MustCompile(`^[\w.~-]+(/[\w.~+-]+)*$`)

	mismatch    = regexp.MustCompile(`verifying ([^\s:]+(?:/go\.mod)?): checksum mismatch\s+downloaded: (h1:\S+)\s+([^\s:]+):\s+(h1:\S+)`)
	noSumEntry  = regexp.MustCompile(`missing go\.sum entry|updates to go\.(?:mod|sum) needed`)
	goTooOld    = regexp.MustCompile(`requires go >= ([\w.]+) \(running go ([\w.]+)`)
	noToolchain = regexp.MustCompile(`download (go1[\w.]+)(?: for [\w/]+)?: (?s:(.*))`)
	noSumDB     = regexp.MustCompile(`checksum database disabled by GOSUMDB=off`)
	notServed   = regexp.MustCompile(`unknown revision|invalid version|no matching versions|40[34] (?:Forbidden|Not Found)|410 Gone|no such file or directory|not found`)
	unreachable = regexp.MustCompile(`dial tcp|lookup \S+(?: on \S+)?: |connection re(?:fused|set)|network is unreachable|i/o timeout|TLS handshake|x509:|proxyconnect|unexpected EOF|50\d \w+|module lookup disabled by GOPROXY=off|no such host`)
	ofModule    = regexp.MustCompile(`([\w.~-]+\.[\w.~-]+(?:/[\w.~!+-]+)*@v[\w.+-]+)`)
	lastFetched = regexp.MustCompile(`(?m)^go: downloading (\S+) (v\S+)$`)
)

// diagnose turns a failed call of the go command into an error that says what
// to do. doing is what the call was for; pins tells whether it worked from a
// complete go.sum.
func diagnose(doing string, err error, o *output, h *host, toolchain string) error {
	text := o.text()
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w", doing, fmt.Errorf(format, args...))
	}
	gone := func(format string, args ...any) error { return unavailable{fail(format, args...)} }
	if m := mismatch.FindStringSubmatch(text); m != nil {
		by := m[3]
		if by == "go.sum" {
			by = "the lock's go.sum"
		}
		return fail("%w", &ChecksumError{Module: m[1], Got: m[2], By: by, Want: m[4]})
	}
	if m := noToolchain.FindStringSubmatch(text); m != nil {
		switch {
		case noSumDB.MatchString(text):
			return fail("the toolchain %s can not be verified, as GOSUMDB=off disables the checksum database; enable it, or choose the host's own toolchain (etcd.toolchain: %s)", m[1], h.version)
		case unreachable.MatchString(text) || strings.Contains(h.settings["GOPROXY"], "off") && strings.Contains(m[2], "not available"):
			return gone("the toolchain %s is neither on this machine nor to be downloaded now (GOPROXY is %s); connect once, or choose the host's own toolchain (etcd.toolchain: %s)%s", m[1], h.proxy(), h.version, o.indented(3))
		default:
			return gone("the toolchain %s is not to be had (GOPROXY is %s); choose a release of Go that exists, such as %s%s", m[1], h.proxy(), DefaultToolchain, o.indented(3))
		}
	}
	if m := goTooOld.FindStringSubmatch(text); m != nil {
		return fail("%s is too old: Go %s or newer is needed; raise etcd.toolchain", toolchain, m[1])
	}
	if noSumEntry.MatchString(text) {
		return fail("the wrapper module is not complete; make the lock again%s", o.indented(6))
	}
	module := ofModule.FindString(text)
	if module == "" {
		if all := lastFetched.FindAllStringSubmatch(text, -1); all != nil {
			module = all[len(all)-1][1] + "@" + all[len(all)-1][2]
		}
	}
	if module == "" {
		module = "a module"
	}
	switch {
	case unreachable.MatchString(text):
		return gone("%s is not in the module cache and can not be downloaded (GOPROXY is %s); connect, or fill the module cache first%s", module, h.proxy(), o.indented(3))
	case notServed.MatchString(text):
		return gone("%s is not to be had (GOPROXY is %s)%s", module, h.proxy(), o.indented(3))
	}
	return fail("the go command failed (%w)%s", err, o.indented(20))
}
