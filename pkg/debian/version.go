package debian

import (
	"strings"
)

// ValidVersion says whether s has the form of deb-version(7):
// [epoch:]upstream-version[-debian-revision].
func ValidVersion(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	epoch, upstream, revision, hasEpoch, hasRevision := splitVersion(s)
	if hasEpoch && (epoch == "" || len(epoch) > 9 || strings.Trim(epoch, "0123456789") != "") {
		return false
	}
	if upstream == "" || hasRevision && revision == "" {
		return false
	}
	for i := range len(upstream) {
		if c := upstream[i]; !isAlnum(c) && !strings.ContainsRune(".+~-", rune(c)) && (c != ':' || !hasEpoch) {
			return false
		}
	}
	for i := range len(revision) {
		if c := revision[i]; !isAlnum(c) && !strings.ContainsRune(".+~", rune(c)) {
			return false
		}
	}
	return true
}

// CompareVersions orders two versions as deb-version(7) says: negative where a
// is earlier, zero where they are equal, positive where a is later. Versions
// that are not valid have a place in the order, too, but no meaning.
func CompareVersions(a, b string) int {
	ae, au, ar, _, _ := splitVersion(a)
	be, bu, br, _, _ := splitVersion(b)
	if d := compareDigits(ae, be); d != 0 {
		return d
	}
	if d := comparePart(au, bu); d != 0 {
		return d
	}
	return comparePart(ar, br)
}

// splitVersion cuts a version at its first colon and its last hyphen.
func splitVersion(s string) (epoch, upstream, revision string, hasEpoch, hasRevision bool) {
	upstream = s
	if i := strings.IndexByte(s, ':'); i >= 0 {
		epoch, upstream, hasEpoch = s[:i], s[i+1:], true
	}
	if i := strings.LastIndexByte(upstream, '-'); i >= 0 {
		upstream, revision, hasRevision = upstream[:i], upstream[i+1:], true
	}
	return
}

// comparePart compares by turns what is not a digit, character by character,
// and what is, by value.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !isDigit(a[0]) || b != "" && !isDigit(b[0]) {
			if d := weight(a) - weight(b); d != 0 {
				return d
			}
			a, b = a[1:], b[1:] // equal weights: neither is at an end or a digit
		}
		i, j := digits(a), digits(b)
		if d := compareDigits(a[:i], b[:j]); d != 0 {
			return d
		}
		a, b = a[i:], b[j:]
	}
	return 0
}

// weight is the place of a string's first character: a tilde before the end,
// the end (a digit counts as one) before letters, letters before the rest.
func weight(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case isAlnum(s[0]):
		return int(s[0])
	default:
		return int(s[0]) + 256
	}
}

func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func digits(s string) int {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlnum(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
