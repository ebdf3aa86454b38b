package keyset

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// mysqlSettings are what every statement is read under: without a limit that would cut
// its result, and sorted by whole keys.
func mysqlSettings(s *spec) []string {
	return []string{
		"sql_select_limit = 18446744073709551615",
		maxSortLength(s.sorted),
		fmt.Sprintf("sort_buffer_size = GREATEST(@@sort_buffer_size, %d)", sortBuffer*max(1, len(s.key))),
	}
}

// unpadded has a CHAR read as it is stored.
const unpadded = "sql_mode = REPLACE(@@sql_mode, 'PAD_CHAR_TO_FULL_LENGTH', '')"

// mysqlSession pins what would cut or order a result in another way, and how a CHAR is
// read. For the statements of a Table it pins the time zone, too, and for those on a view
// or a query what its expressions give. Those of a Query are scanned by its user, whose
// driver may have been told the session's time zone. MySQL has settings for one statement
// only as hints, and not those of an older version; the rest must be set up right.
func mysqlSession(ctx context.Context, s *spec) error {
	var version, zone, system, mode, limit string
	var client, connection, results sql.NullString
	var sorted int
	var buffer int64
	var moment any
	err := queryEach(ctx, s.db, func(rows *sql.Rows) error {
		return rows.Scan(&version, &zone, &system, &mode, &client, &connection, &results, &limit, &sorted, &buffer, &moment)
	}, "SELECT VERSION(), @@time_zone, @@system_time_zone, @@sql_mode, @@character_set_client, @@character_set_connection, @@character_set_results, "+
		"@@sql_select_limit, @@max_sort_length, @@sort_buffer_size, CAST('2001-02-03 04:05:06' AS DATETIME)")
	if err != nil {
		return err
	}
	if s.zone = zone; zone == "SYSTEM" {
		s.zone = system
	}
	if t, ok := moment.(time.Time); ok { // the driver parses times
		s.loc = t.Location()
	}
	s.emptyIsNull = strings.Contains(mode, "EMPTY_STRING_IS_NULL")
	for _, set := range []sql.NullString{client, connection, results} {
		if set.String != "utf8mb4" {
			return fmt.Errorf("%w: text is sent in the character set %q, which cannot hold every text; connect with charset=utf8mb4", ErrSession, set.String)
		}
	}
	s.sorted, s.sortedOwn = sortedBytes, sorted
	if strings.Contains(version, "MariaDB") {
		pins := append(mysqlSettings(s), unpadded)
		if s.layout != nil {
			pins = append(pins, "time_zone = '+00:00'")
			if s.layout.info.view {
				pins = append(pins, "div_precision_increment = 4", "lc_time_names = 'en_US'", "default_week_format = 0")
			}
		}
		s.prefix = "SET STATEMENT " + strings.Join(pins, ", ") + " FOR "
		return nil
	}
	if s.layout != nil && s.layout.hasZoned() && !isUTC(s.zone) {
		return fmt.Errorf("%w: a TIMESTAMP is read in the time zone of the session, %s; connect with time_zone='+00:00'", ErrSession, s.zone)
	}
	if strings.Contains(mode, "PAD_CHAR_TO_FULL_LENGTH") {
		return fmt.Errorf("%w: the sql_mode PAD_CHAR_TO_FULL_LENGTH changes each CHAR; connect without it", ErrSession)
	}
	major, _, _ := strings.Cut(version, ".")
	if n, _ := strconv.Atoi(major); n >= 8 {
		s.hints = fmt.Sprintf("SET_VAR(sql_select_limit = 18446744073709551615) SET_VAR(%s) SET_VAR(sort_buffer_size = %d)",
			maxSortLength(s.sorted), max(buffer, sortBuffer*int64(max(1, len(s.key)))))
		return nil
	}
	s.sorted = sorted
	if limit != "18446744073709551615" {
		return fmt.Errorf("%w: sql_select_limit cuts each result after %s rows; connect with sql_select_limit=18446744073709551615", ErrSession, limit)
	}
	return nil
}
