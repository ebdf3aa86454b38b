package keyset

import "strings"

// What a server makes of a value can depend on settings of the session, which a role, a
// database or whoever had the connection before has set. A page is read under settings of
// its own instead, which end with its statement and cost no round trip.

// isUTC reports whether a time zone is always at UTC.
func isUTC(zone string) bool {
	switch strings.ToUpper(strings.TrimPrefix(zone, "Etc/")) {
	case "UTC", "UCT", "GMT", "GMT0", "ZULU", "UNIVERSAL", "GREENWICH", "+00:00", "-00:00":
		return true
	}
	return false
}
