// Package report shows that the report of an audit is what a person can use:
// it opens it in a real browser, headless Chromium, at the sizes of a desk, a
// phone and a sheet of paper, in light and in dark, and with the keyboard.
//
// Accessibility is checked over the live page: what the browser tells assistive
// technology, and what its stylesheets come to. The checker is the package's
// own, and is itself shown to find what is wrong with a broken page. It knows
// nothing of audits.
package report
