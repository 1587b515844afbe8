package raft

import (
	"context"
	"fmt"
	"log/slog"
)

// logger gives the consensus core's chatter to slog, one level lower than the core thinks.
type logger struct{ log *slog.Logger }

// corePanic is the core's way to say that its log is not what it promised. It ends the replica, not the process.
type corePanic struct{ text string }

func (l logger) write(level slog.Level, text string) {
	l.log.Log(context.Background(), level, text)
}

func (l logger) on(level slog.Level) bool { return l.log.Enabled(context.Background(), level) }

func (l logger) Debug(...any)          {}
func (l logger) Debugf(string, ...any) {}

func (l logger) Info(v ...any) {
	if l.on(slog.LevelDebug) {
		l.write(slog.LevelDebug, fmt.Sprint(v...))
	}
}

func (l logger) Infof(f string, v ...any) {
	if l.on(slog.LevelDebug) {
		l.write(slog.LevelDebug, fmt.Sprintf(f, v...))
	}
}
func (l logger) Warning(v ...any)            { l.Info(v...) }
func (l logger) Warningf(f string, v ...any) { l.Infof(f, v...) }
func (l logger) Error(v ...any)              { l.write(slog.LevelWarn, fmt.Sprint(v...)) }
func (l logger) Errorf(f string, v ...any)   { l.write(slog.LevelWarn, fmt.Sprintf(f, v...)) }
func (l logger) Fatal(v ...any)              { l.Panic(v...) }
func (l logger) Fatalf(f string, v ...any)   { l.Panicf(f, v...) }
func (l logger) Panic(v ...any)              { panic(corePanic{fmt.Sprint(v...)}) }
func (l logger) Panicf(f string, v ...any)   { panic(corePanic{fmt.Sprintf(f, v...)}) }
