package plan

import (
	"fmt"
)

// Settings are what decides over the bytes in the files. No secret is among them: a
// database is known by where it is, not by how one gets in.
type Settings struct {
	Database string
	Near     string `json:",omitempty"` // the database, as a path from the folder of the checkpoints
	Tables   []Table
	Where    string

	Format, Compress string
	Delimiter, Null  string
	NoHeader         bool
	Partitions       int
	Until            string `json:",omitempty"` // the last key; "" means the end
	Limit            int    `json:",omitempty"` // rows of each table; 0 means all
}

// A Table is one of those that are exported, or the query.
type Table struct {
	Name         string // with its schema
	Key, Columns string
	Query        string // the fingerprint of what is read
}

// Difference names the first setting that is not as it was, "" where all are. A database
// in a file may have moved together with the export.
func (s Settings) Difference(was Settings) string {
	if s.Near != "" && s.Near == was.Near {
		s.Database = was.Database
	}
	type setting struct {
		flag     string
		now, was any
	}
	all := []setting{{"-dsn", s.Database, was.Database}, {"the number of tables", len(s.Tables), len(was.Tables)}}
	for i := range min(len(s.Tables), len(was.Tables)) {
		now, was := s.Tables[i], was.Tables[i]
		all = append(all, setting{"-table", now.Name, was.Name}, setting{"-key", now.Key, was.Key}, setting{"-columns", now.Columns, was.Columns})
	}
	all = append(all, []setting{
		{"-where", s.Where, was.Where},
		{"-format", s.Format, was.Format},
		{"-compress", s.Compress, was.Compress},
		{"-delimiter", s.Delimiter, was.Delimiter},
		{"-null", s.Null, was.Null},
		{"-header", !s.NoHeader, !was.NoHeader},
		{"-partitions", s.Partitions, was.Partitions},
		{"-until", s.Until, was.Until},
		{"-limit", s.Limit, was.Limit},
	}...)
	for i := range min(len(s.Tables), len(was.Tables)) {
		all = append(all, setting{"the query of " + s.Tables[i].Name, s.Tables[i].Query, was.Tables[i].Query})
	}
	for _, d := range all {
		if d.now != d.was {
			return fmt.Sprintf("%s is now %#v, and was %#v", d.flag, d.now, d.was)
		}
	}
	return ""
}
