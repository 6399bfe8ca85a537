// pgx as its users use it: each check by itself on a fresh connection, named in PG* variables.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const refused = "set pgguard.principal = 'somebody'"

type check struct {
	name string
	run  func(context.Context, *pgx.Conn) error
}

var checks = []check{
	{"every way to execute", everyWay},
	{"a batch and its error", batch},
	{"a refusal in a batch", refusedInBatch},
	{"a refusal in a transaction", refusedInTransaction},
	{"a nested transaction", nested},
	{"copy both ways", copyBothWays},
	{"a copy that fails", failingCopy},
	{"cancel by request", cancelled},
	{"notifications", notifications},
	{"large objects", largeObjects},
	{"many rows", manyRows},
	{"a pipeline by hand", pipeline},
}

func main() {
	pgconn.RegisterGSSProvider(func() (pgconn.GSS, error) { return newKerberos() })
	failed := 0
	for _, each := range checks {
		if err := alone(each); err != nil {
			fmt.Printf("%s: %v\n", each.name, err)
			failed++
		}
	}
	fmt.Printf("%d passed, %d failed\n", len(checks)-failed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func alone(each check) error {
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	conn, err := pgx.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return each.run(ctx, conn)
}

func want(found, wanted any) error {
	if !reflect.DeepEqual(found, wanted) {
		return fmt.Errorf("found %v, not %v", found, wanted)
	}
	return nil
}

// wantState tells whether an error has this SQLSTATE.
func wantState(err error, wanted string) error {
	var told *pgconn.PgError
	if !errors.As(err, &told) {
		return fmt.Errorf("found %v, not SQLSTATE %s", err, wanted)
	}
	return want(told.Code, wanted)
}

// first is the first of these that is an error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func everyWay(ctx context.Context, conn *pgx.Conn) error {
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	for _, mode := range modes {
		for round := 0; round < 3; round++ {
			var number int
			var text string
			var raw []byte
			row := conn.QueryRow(ctx, "select $1::int, $2::text, $3::bytea", mode, 7, "ä'\\", []byte{0, 255})
			if err := row.Scan(&number, &text, &raw); err != nil {
				return fmt.Errorf("%s: %w", mode, err)
			}
			if err := want([]any{number, text, raw}, []any{7, "ä'\\", []byte{0, 255}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func batch(ctx context.Context, conn *pgx.Conn) error {
	var queued pgx.Batch
	queued.Queue("select 1")
	queued.Queue("select 1/$1::int", 0)
	queued.Queue("select 2")
	sent := conn.SendBatch(ctx, &queued)
	_, good := sent.Exec()
	_, bad := sent.Exec()
	_, behind := sent.Exec()
	if err := sent.Close(); err == nil {
		return errors.New("the batch's error is lost")
	}
	return first(good, wantState(bad, "22012"), wantState(behind, "22012"), alive(ctx, conn))
}

func alive(ctx context.Context, conn *pgx.Conn) error {
	var one int
	if err := conn.QueryRow(ctx, "select 1").Scan(&one); err != nil {
		return err
	}
	return want(string(conn.PgConn().TxStatus()), "I")
}

// A batch is one pipeline: what stands before and behind the refused statement has no effect.
func refusedInBatch(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "create temp table t (a int)"); err != nil {
		return err
	}
	var queued pgx.Batch
	queued.Queue("insert into t values (1)")
	queued.Queue(refused)
	queued.Queue("insert into t values (2)")
	return first(wantState(conn.SendBatch(ctx, &queued).Close(), "42501"), wantRows(ctx, conn, 0), alive(ctx, conn))
}

func wantRows(ctx context.Context, conn *pgx.Conn, wanted int) error {
	var rows int
	return first(conn.QueryRow(ctx, "select count(*) from t").Scan(&rows), want(rows, wanted))
}

func refusedInTransaction(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	_, denied := tx.Exec(ctx, refused)
	_, behind := tx.Exec(ctx, "select 1")
	status := want(string(conn.PgConn().TxStatus()), "E")
	return first(wantState(denied, "42501"), wantState(behind, "25P02"), status, tx.Rollback(ctx), alive(ctx, conn))
}

func nested(ctx context.Context, conn *pgx.Conn) error {
	_, created := conn.Exec(ctx, "create temp table t (a int)")
	err := pgx.BeginFunc(ctx, conn, func(outer pgx.Tx) error {
		_, inserted := outer.Exec(ctx, "insert into t values (1)")
		inner := pgx.BeginFunc(ctx, outer, func(inner pgx.Tx) error {
			_, err := inner.Exec(ctx, "insert into t select 1/0")
			return err
		})
		return first(inserted, wantState(inner, "22012"))
	})
	return first(created, err, wantRows(ctx, conn, 1))
}

func copyBothWays(ctx context.Context, conn *pgx.Conn) error {
	_, created := conn.Exec(ctx, "create temp table t (a int, b text)")
	source := pgx.CopyFromSlice(5000, func(n int) ([]any, error) { return []any{n, fmt.Sprint("row ", n)}, nil })
	copied, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a", "b"}, source)
	if err := first(created, err, want(copied, int64(5000))); err != nil {
		return err
	}
	var out bytes.Buffer
	tag, err := conn.PgConn().CopyTo(ctx, &out, "copy t to stdout")
	return first(err, want(tag.RowsAffected(), int64(5000)), want(bytes.Count(out.Bytes(), []byte("\n")), 5000))
}

func failingCopy(ctx context.Context, conn *pgx.Conn) error {
	_, created := conn.Exec(ctx, "create temp table t (a int primary key)")
	twice := pgx.CopyFromRows([][]any{{1}, {1}})
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a"}, twice)
	_, denied := conn.PgConn().CopyFrom(ctx, bytes.NewBufferString("x\n"), "copy t from stdin")
	return first(created, wantState(err, "23505"), wantState(denied, "22P02"), alive(ctx, conn))
}

func cancelled(ctx context.Context, conn *pgx.Conn) error {
	time.AfterFunc(200*time.Millisecond, func() { conn.PgConn().CancelRequest(ctx) })
	_, err := conn.Exec(ctx, "select pg_sleep(20)")
	if err := wantState(err, "57014"); err != nil {
		return err
	}
	// one that comes when nothing runs hits nothing
	if err := conn.PgConn().CancelRequest(ctx); err != nil {
		return err
	}
	for n := 0; n < 20; n++ {
		if err := alive(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}

func notifications(ctx context.Context, conn *pgx.Conn) error {
	_, listening := conn.Exec(ctx, "listen pgx")
	_, told := conn.Exec(ctx, "select pg_notify('pgx', 'payload')")
	found, err := conn.WaitForNotification(ctx)
	if err := first(listening, told, err); err != nil {
		return err
	}
	return want(found.Payload, "payload")
}

func largeObjects(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		objects := tx.LargeObjects()
		number, err := objects.Create(ctx, 0)
		if err != nil {
			return err
		}
		object, err := objects.Open(ctx, number, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
		if err != nil {
			return err
		}
		_, written := object.Write(bytes.Repeat([]byte("large"), 1000))
		_, sought := object.Seek(0, 0)
		back := make([]byte, 5000)
		length, read := object.Read(back)
		return first(written, sought, read, want(length, 5000), objects.Unlink(ctx, number))
	})
}

func manyRows(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, "select n, repeat('x', 100) from generate_series(1, 50000) n")
	if err != nil {
		return err
	}
	sum := 0
	for rows.Next() {
		var number int
		var text string
		if err := rows.Scan(&number, &text); err != nil {
			return err
		}
		sum += number
	}
	return first(rows.Err(), want(sum, 50000*50001/2))
}

func pipeline(ctx context.Context, conn *pgx.Conn) error {
	line := conn.PgConn().StartPipeline(ctx)
	line.SendPrepare("doubled", "select 2 * $1::int", nil)
	line.SendQueryPrepared("doubled", [][]byte{[]byte("21")}, nil, nil)
	line.SendQueryParams(refused, nil, nil, nil, nil)
	line.SendQueryParams("select 1", nil, nil, nil, nil)
	if err := line.Sync(); err != nil {
		return err
	}
	line.SendQueryPrepared("doubled", [][]byte{[]byte("4")}, nil, nil)
	if err := line.Sync(); err != nil {
		return err
	}
	var seen []string
	for {
		result, err := line.GetResults()
		if err != nil {
			if err := wantState(err, "42501"); err != nil {
				return err
			}
			seen = append(seen, "refused")
			continue
		}
		switch found := result.(type) {
		case nil:
			wanted := []string{"prepared", "42", "refused", "sync", "8", "sync"}
			return first(want(seen, wanted), line.Close(), alive(ctx, conn))
		case *pgconn.StatementDescription:
			seen = append(seen, "prepared")
		case *pgconn.ResultReader:
			read := found.Read()
			if read.Err != nil {
				return read.Err
			}
			seen = append(seen, string(read.Rows[0][0]))
		case *pgconn.PipelineSync:
			seen = append(seen, "sync")
		}
	}
}
