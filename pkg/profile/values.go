package profile

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Mode is a file mode as chmod(1) writes it: permission bits together with
// setuid (04000), setgid (02000) and sticky (01000). In YAML both 0o755 and
// 0755 are octal.
type Mode uint32

// maxMode has every bit that chmod(2) knows.
const maxMode = 0o7777

var octal = regexp.MustCompile(`^0(o?[0-7]+)?$`)

// ParseMode reads 0o755 or 0755. Without the leading zero a number is refused:
// a YAML reader takes 755 as decimal, and chmod takes it as octal.
func ParseMode(s string) (Mode, error) {
	if !octal.MatchString(s) {
		return 0, fmt.Errorf("%q is not an octal mode", s)
	}
	bits, err := strconv.ParseUint(strings.TrimPrefix(s[1:], "o"), 8, 32)
	if s == "0" {
		bits, err = 0, nil
	}
	if err != nil || bits > maxMode {
		return 0, fmt.Errorf("%s is beyond 0o7777", s)
	}
	return Mode(bits), nil
}

// String is the octal form that YAML reads, as 0o755.
func (m Mode) String() string { return fmt.Sprintf("0o%03o", uint32(m)) }

// MarshalText is String: JSON has no octal numbers, so a mode is a string there.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMode.
func (m *Mode) UnmarshalText(text []byte) error {
	parsed, err := ParseMode(string(text))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

// Duration is a time.Duration written as Go writes it: 30s, 1m30s.
type Duration time.Duration

// MarshalText is the form that time.ParseDuration reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration takes.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(parsed)
	return nil
}
