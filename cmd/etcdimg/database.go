package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/audit"
	"github.com/etcdimg/etcdimg/pkg/audit/osv"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/policy"
)

// databaseFlags say in which databases of vulnerabilities to look things up.
type databaseFlags struct {
	databases []string
	dbDate    string
	maxAge    string
}

func (f *databaseFlags) addDatabaseFlags(cmd *cobra.Command, more string) {
	cmd.Flags().StringArrayVar(&f.databases, "db", nil, "database of vulnerabilities: folder, archive or address of one (repeatable)"+more)
	cmd.Flags().StringVar(&f.dbDate, "db-date", "", "date of a database that tells none: 2026-08-21")
	cmd.Flags().StringVar(&f.maxAge, "max-db-age", "", "how old a database may be: 168h, 7d")
}

// openDatabases reads the databases, and holds their dates against how old they
// may be. Whoever takes them closes them.
func (f *databaseFlags) openDatabases(cmd *cobra.Command, store *cache.Cache, now time.Time, offline bool) (all []*osv.Database, err error) {
	defer func() {
		if err != nil {
			for _, d := range all {
				err = errors.Join(err, d.Close())
			}
			all = nil
		}
	}()
	if f.maxAge != "" {
		if _, err := policy.ParseAge(f.maxAge); err != nil {
			return nil, usagef(cmd, "--max-db-age: %w", err)
		}
	}
	var given time.Time
	if f.dbDate != "" {
		if given, err = time.Parse(time.DateOnly, f.dbDate); err != nil {
			return nil, usagef(cmd, "--db-date %q: want 2026-08-21", f.dbDate)
		}
	}
	for _, source := range f.databases {
		if source == noDatabase {
			return all, usagef(cmd, "--db %s stands alone", noDatabase)
		}
		var d *osv.Database
		if osv.IsAddress(source) {
			d, err = osv.Fetch(cmd.Context(), store, source, now, offline, newLogger(cmd, cmd.ErrOrStderr()))
		} else {
			d, err = osv.Open(cmd.Context(), store, source)
		}
		if err != nil {
			return all, err
		}
		all = append(all, d)
		if d.Info.Date.IsZero() {
			if given.IsZero() {
				return all, fmt.Errorf("the vulnerability database %s does not tell of which day it is, by its records or its name: say so with --db-date", source)
			}
			d.Info.Date, d.Info.DateFrom = given, "--db-date"
		}
		told := audit.Database{Source: d.Info.Source, Date: d.Info.Date, DateFrom: d.Info.DateFrom}
		if err := audit.CheckDatabaseAge([]audit.Database{told}, f.maxAge, now); err != nil {
			return all, err
		}
	}
	return all, nil
}
