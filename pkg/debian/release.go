package debian

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
)

// signedFile is one file that a Release file vouches for.
type signedFile struct {
	size   int64
	sha256 string
}

// release is what a verified Release file says, apart from the list of files.
type release struct {
	Digest      string    `json:"digest"` // hex SHA-256 of InRelease, or of Release where the signature is detached
	Suite       string    `json:"suite"`
	Codename    string    `json:"codename"`
	Date        time.Time `json:"date"`
	ValidUntil  time.Time `json:"validUntil,omitzero"`
	Archs       []string  `json:"archs"`
	Components  []string  `json:"components"`
	ByHash      bool      `json:"byHash"`
	SeparateAll bool      `json:"separateAll"` // Architecture: all packages are in binary-all only
	SignedBy    []string  `json:"signedBy"`

	files map[string]signedFile // by path relative to the suite's directory
}

var (
	pgpMessage   = []byte("-----BEGIN PGP SIGNED MESSAGE-----")
	pgpSignature = []byte("-----BEGIN PGP SIGNATURE-----")
)

// openInRelease splits a clear-signed file into the text that was signed and
// the signatures over it. Text outside of the signed part is refused: somebody
// could take it for signed.
func openInRelease(data []byte) (text, signatures []byte, err error) {
	if !bytes.HasPrefix(data, pgpMessage) {
		return nil, nil, errors.New("it does not begin with a signed message")
	}
	if bytes.Count(data, append([]byte("\n"), pgpMessage...)) != 0 || bytes.Count(data, pgpSignature) > 1 {
		return nil, nil, errors.New("it holds more than one signed message")
	}
	block, rest := clearsign.Decode(data)
	if block == nil {
		return nil, nil, errors.New("its signed message is damaged")
	}
	if len(bytes.TrimSpace(rest)) != 0 {
		return nil, nil, errors.New("there is something after the signature")
	}
	signatures, err = io.ReadAll(block.ArmoredSignature.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("its signature is damaged: %w", err)
	}
	return block.Bytes, signatures, nil // Bytes is what is hashed, not what looks like it
}

// openDetached returns the signatures in a Release.gpg file.
func openDetached(data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte("-----BEGIN ")) {
		return data, nil
	}
	block, err := armor.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(block.Body)
}

// parseRelease parses the text of a Release file.
func parseRelease(text []byte) (*release, error) {
	r := &release{files: map[string]signedFile{}}
	fields := map[string]string{}
	current := ""
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimRight(line, " \t\r")
		fail := func(format string, args ...any) error {
			return fmt.Errorf("line %d: %w", i+1, fmt.Errorf(format, args...))
		}
		switch {
		case line == "":
			current = ""
		case line[0] == ' ' || line[0] == '\t':
			if current != "SHA256" {
				continue
			}
			f := strings.Fields(line)
			if len(f) != 3 {
				return nil, fail("want a digest, a size and a name")
			}
			size, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil || size < 0 || !isSHA256(f[0]) || !cleanRelative(f[2]) {
				return nil, fail("%.80q is not a digest, a size and a name", line)
			}
			file := signedFile{size, strings.ToLower(f[0])}
			if old, ok := r.files[f[2]]; ok && old != file {
				return nil, fail("%s is listed twice, differently", f[2])
			}
			r.files[f[2]] = file
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok || name == "" || !fieldName([]byte(name)) {
				return nil, fail("%.40q is not a field", line)
			}
			if _, twice := fields[name]; twice {
				return nil, fail("field %s is there twice", name)
			}
			fields[name], current = strings.TrimSpace(value), name
		}
	}
	r.Suite, r.Codename = fields["Suite"], fields["Codename"]
	r.Archs = strings.Fields(fields["Architectures"])
	r.Components = strings.Fields(fields["Components"])
	r.ByHash = fields["Acquire-By-Hash"] == "yes"
	r.SeparateAll = slices.Contains(r.Archs, "all") && fields["No-Support-for-Architecture-all"] != "Packages"
	var err error
	if r.Date, err = releaseTime(fields["Date"]); err != nil {
		return nil, fmt.Errorf("its Date: %w", err)
	}
	if until := fields["Valid-Until"]; until != "" {
		if r.ValidUntil, err = releaseTime(until); err != nil {
			return nil, fmt.Errorf("its Valid-Until: %w", err)
		}
	}
	if len(r.files) == 0 {
		return nil, errors.New("it lists no file by SHA-256")
	}
	return r, nil
}

func releaseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC1123, time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 MST", "Mon, _2 Jan 2006 15:04:05 -0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			if zone, _ := t.Zone(); zone != "UTC" && zone != "GMT" && zone != "" {
				break // names of zones mean whatever the machine thinks they do
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time in UTC", s)
}

// check holds a release against what was asked for, and against the time.
func (r *release) check(suite string, now time.Time) error {
	if path.Clean(suite) != r.Suite && path.Clean(suite) != r.Codename {
		return fmt.Errorf("it is of suite %q, codename %q", r.Suite, r.Codename)
	}
	if now.IsZero() {
		return errors.New("debian: Options.Now is missing")
	}
	if r.Date.After(now.Add(signatureSkew)) {
		return fmt.Errorf("it is dated %s, which is in the future: set this machine's clock", r.Date.Format(time.RFC3339))
	}
	if !r.ValidUntil.IsZero() && now.After(r.ValidUntil) {
		return &expiredError{suite: suite, until: r.ValidUntil}
	}
	return nil
}

// expiredError says that a suite's index is past its Valid-Until.
type expiredError struct {
	suite string
	until time.Time
}

func (e *expiredError) Error() string {
	return fmt.Sprintf("the index of suite %s expired on %s: use a mirror that is up to date, or set this machine's clock", e.suite, e.until.Format(time.RFC3339))
}

func isSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// cleanRelative says whether a path stays below the directory it is relative to.
func cleanRelative(p string) bool {
	return p != "" && p != "." && !path.IsAbs(p) && path.Clean(p) == strings.TrimPrefix(p, "./") &&
		p != ".." && !strings.HasPrefix(p, "../") && !strings.ContainsAny(p, "\\\x00\r\n\t ")
}
