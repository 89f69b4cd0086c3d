// Package report writes the result of an audit as one HTML file that explains
// itself: to be opened from a disk or out of a mail, read on a phone, printed,
// and kept.
//
// The file loads nothing and sends nothing, and its Content-Security-Policy
// holds the browser to that: only the style and the script that are written
// into it, known by their digests, count. Without the script everything is
// there, just not searchable. The same result gives the same bytes.
//
// Whatever stands in a result may have been written by strangers; it is text
// here, never markup.
//
// The package must not know how anything was found out: no network, no files,
// no clock.
package report
