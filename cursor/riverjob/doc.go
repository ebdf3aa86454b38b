// Package riverjob works.
package riverjob
