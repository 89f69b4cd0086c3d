// Package audit says what is in an image, what is known to be wrong with it,
// and whether a policy allows that: vulnerabilities out of OSV data, told apart
// by whether the code is called; VEX statements about them; licences, files and
// signatures held against rules.
//
// A Result is plain data. Text, JSON, SARIF, Markdown and the HTML report are
// forms of it. The package must not know how an image was built, nor read a
// clock: what ages are counted from is told to it.
package audit
