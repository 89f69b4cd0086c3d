package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"unicode/utf8"

	"github.com/etcdimg/etcdimg/pkg/audit"
)

//go:embed report.html.tmpl
var document string

//go:embed report.css
var style string

//go:embed report.js
var script string

// Write writes the report of a result: UTF-8, HTML5.
func Write(w io.Writer, r *audit.Result) error {
	t, err := template.New("report").Funcs(functions()).Parse(document)
	if err != nil {
		return fmt.Errorf("reading the report's template: %w", err)
	}
	p := newPage(r)
	p.Security = "default-src 'none'; style-src " + source(style) + "; script-src " + source(script) + "; base-uri 'none'; form-action 'none'"
	p.Style, p.Script = template.CSS(style), template.JS(script)
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if _, err := w.Write(bytes.Map(printable, b.Bytes())); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// printable shows what is there to deceive the eye: characters that turn the
// order of what follows them around, and that the report itself never has.
func printable(r rune) rune {
	switch {
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
		return utf8.RuneError
	case r < ' ' && r != '\n' && r != '\t', r == 0x7f:
		return utf8.RuneError
	}
	return r
}

// source names an element's content by its digest, as a Content-Security-Policy
// does (CSP Level 3, 2.3.1).
func source(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
