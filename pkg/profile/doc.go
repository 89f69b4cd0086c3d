// Package profile is the YAML that says what an image is to contain and how it
// starts: its types, strict reading with line numbers, includes, defaults,
// validation, and the JSON schema for editors.
//
// The types in types.go are the one table that everything here is driven by:
// reading, defaults, the checks of single values, the schema and the printed
// form all walk them by reflection and go by their tags:
//
//	json      the key; the order of the fields is the order of the output
//	doc       the sentence that the schema and "missing key" errors show
//	required  "true" where the key must be given within its mapping
//	default   the value that an absent key gets, written as in YAML; lists
//	          with commas. Defaults that depend on other keys are in defaults.go
//	enum      the values allowed, with commas
//	format    the name of a row in formats.go: syntax of a single value
//	accept    "integer" where a number without quotes is taken as text
//
// What several keys together must satisfy is a row of the table in rules.go.
//
// The package reads the profile and its includes and nothing else: it must not
// know the files that a profile names, the network, or etcd's recipes (the one
// fact about etcd here is which binaries a line has).
package profile
