package source

import (
	"regexp"
	"slices"
	"strings"
)

// libpqWords are the keywords of libpq and of the driver whose values are no secrets.
var libpqWords = []string{
	"host", "hostaddr", "port", "dbname", "database", "user", "passfile", "service", "servicefile", "require_auth", "channel_binding", "connect_timeout",
	"client_encoding", "options", "application_name", "fallback_application_name", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
	"tcp_user_timeout", "replication", "gssencmode", "sslmode", "requiressl", "sslnegotiation", "sslcompression", "sslcert", "sslkey", "sslcertmode",
	"sslrootcert", "sslcrl", "sslcrldir", "sslsni", "requirepeer", "ssl_min_protocol_version", "ssl_max_protocol_version", "min_protocol_version",
	"max_protocol_version", "krbsrvname", "krbspn", "gsslib", "gssdelegation", "target_session_attrs", "load_balance_hosts", "ssl",
	"default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity",
}

// secretWords are the keywords whose values are secrets.
var secretWords = []string{"password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"}

// shown are the parameters of all forms whose values hold no secret. All others are hidden:
// who lists the secret ones forgets one.
var shown = append([]string{
	"search_path", "timezone", "TimeZone", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "work_mem", "role", "datestyle",
	"tls", "timeout", "readTimeout", "writeTimeout", "charset", "collation", "parseTime", "loc", "time_zone", "sql_mode", "maxAllowedPacket",
	"allowCleartextPasswords", "allowNativePasswords", "allowOldPasswords", "allowFallbackToPlaintext", "allowAllFiles", "checkConnLiveness",
	"clientFoundRows", "columnsWithAlias", "compress", "interpolateParams", "multiStatements", "rejectReadOnly", "serverPubKey", "timeTruncate",
	"max_statement_time", "wait_timeout", "net_read_timeout", "net_write_timeout", "transaction_isolation", "tx_isolation",
	"mode", "cache", "immutable", "vfs", "nolock", "psow",
}, libpqWords...)

// options matches those of PostgreSQL that set settings of the server, whose names have no
// dots. One with a dot is somebody's own, and may be a secret.
var options = regexp.MustCompile(`^(\s*(-c\s*|--)[A-Za-z_-]+=([^\s\\']|\\.)*)*\s*$`)

// isShown reports whether a parameter may be printed.
func isShown(name, value string) bool {
	switch name {
	case "options":
		return options.MatchString(value)
	case "user":
		return !holdsSecret(value, "")
	case "dbname", "database":
		return !holdsSecret("", value)
	case "host", "hostaddr":
		return strings.LastIndexByte(value, '@') <= 0
	}
	return slices.Contains(shown, name)
}

// credential matches names of parameters under which people give a secret where there is
// no place for one.
var credential = regexp.MustCompile(`(?i)pass|pwd|secret|token|credential|^scram_|^(user|username|uid|usr|login)$`)

// harmless are settings of servers that look like one.
var harmless = []string{"password_encryption", "old_passwords"}

func isCredential(name string) bool {
	return credential.MatchString(name) && !slices.Contains(harmless, strings.ToLower(name))
}
