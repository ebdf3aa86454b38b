// Package cursor reads sources that are paginated and resumes where it left off.
package cursor
