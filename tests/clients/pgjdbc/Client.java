import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.jdbc.PreferQueryMode;
import org.postgresql.largeobject.LargeObject;

/**
 * pgjdbc with tickets by JAAS, as its users use it; each check on a fresh connection, named in PG* variables. The
 * arguments name the checks; without any all are run.
 */
final class Client {
    private static final String REFUSED = "set pgguard.principal = 'somebody'";
    private static final String[] QUERY_MODES = {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"};

    interface Check {
        void run(Connection connection) throws Exception;
    }

    public static void main(String[] words) throws Exception {
        setUpKerberos();
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("values", Client::values);
        checks.put("server-prepared statements", Client::serverPrepared);
        checks.put("a batch and its error", Client::batch);
        checks.put("a refusal in a transaction", Client::refusedInTransaction);
        checks.put("a refusal in a batch", Client::refusedInBatch);
        checks.put("savepoints", Client::savepoints);
        checks.put("a result in portions", Client::portions);
        checks.put("copy both ways", Client::copyBothWays);
        checks.put("cancel", Client::cancel);
        checks.put("a time limit on a query", Client::timeLimit);
        if (!System.getenv("PGGSSENCMODE").equals("require")) {
            // over GSS encryption pgjdbc 42.7.7 waits here for ever, within its own GSSInputStream.readLength
            checks.put("notifications", Client::notifications);
        }
        checks.put("large objects, by function calls", Client::largeObjects);
        checks.put("OUT parameters", Client::outParameters);
        checks.put("metadata", Client::metadata);
        checks.put("several statements and results", Client::severalResults);
        checks.put("all metadata", Client::allMetadata);
        if (words.length > 0) {
            checks.keySet().retainAll(Arrays.asList(words));
        }
        int passed = 0;
        int failed = 0;
        for (String mode : QUERY_MODES) {
            for (Map.Entry<String, Check> check : checks.entrySet()) {
                try (Connection connection = connect(mode)) {
                    check.getValue().run(connection);
                    passed++;
                } catch (Exception | AssertionError error) {
                    System.out.println(mode + ", " + check.getKey() + ": " + error);
                    failed++;
                }
            }
        }
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed > 0 ? 1 : 0);
    }

    private static void setUpKerberos() throws Exception {
        Path login = Files.createTempFile("jaas", ".conf");
        login.toFile().deleteOnExit();
        String cache = System.getenv("KRB5CCNAME").replaceFirst("^FILE:", "");
        Files.writeString(login, "pgjdbc { com.sun.security.auth.module.Krb5LoginModule required useTicketCache=true"
                + " doNotPrompt=true ticketCache=\"" + cache + "\"; };");
        System.setProperty("java.security.auth.login.config", login.toString());
        System.setProperty("java.security.krb5.conf", System.getenv("KRB5_CONFIG"));
    }

    private static Connection connect(String queryMode) throws SQLException {
        Properties wanted = new Properties();
        wanted.setProperty("user", System.getenv("PGUSER"));
        wanted.setProperty("gssEncMode", System.getenv("PGGSSENCMODE"));
        wanted.setProperty("sslmode", System.getenv("PGSSLMODE"));
        wanted.setProperty("preferQueryMode", queryMode);
        wanted.setProperty("loginTimeout", "20");
        String where = System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        return DriverManager.getConnection("jdbc:postgresql://" + where, wanted);
    }

    private static void want(Object found, Object wanted) {
        if (!wanted.equals(found)) {
            throw new AssertionError("found " + found + ", not " + wanted);
        }
    }

    private static void wantState(String sqlstate, Check failing, Connection connection) throws Exception {
        try {
            failing.run(connection);
        } catch (SQLException error) {
            SQLException told = error instanceof BatchUpdateException ? error.getNextException() : error;
            want((told == null ? error : told).getSQLState(), sqlstate);
            return;
        }
        throw new AssertionError("no error, not SQLSTATE " + sqlstate);
    }

    private static void run(Connection connection, String... statements) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            for (String each : statements) {
                statement.execute(each);
            }
        }
    }

    private static long number(Connection connection, String query) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(query)) {
            rows.next();
            return rows.getLong(1);
        }
    }

    private static void values(Connection connection) throws Exception {
        try (PreparedStatement statement = connection.prepareStatement("select ?::int, ?::text, ?::bytea")) {
            statement.setInt(1, 7);
            statement.setString(2, "ä'");
            statement.setBytes(3, new byte[] {0, -1});
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                want(rows.getInt(1), 7);
                want(rows.getString(2), "ä'");
                want(Arrays.toString(rows.getBytes(3)), "[0, -1]");
            }
        }
    }

    /** From the fifth execution on the statement has a name in the server. */
    private static void serverPrepared(Connection connection) throws Exception {
        try (PreparedStatement statement = connection.prepareStatement("select ?::int + 1")) {
            for (int n = 0; n < 12; n++) {
                statement.setInt(1, n);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    want(rows.getInt(1), n + 1);
                }
            }
        }
        run(connection, "deallocate all");
    }

    private static void batch(Connection connection) throws Exception {
        run(connection, "create temp table t (a int primary key)");
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("insert into t values (?)")) {
            for (int n = 0; n < 500; n++) {
                statement.setInt(1, n);
                statement.addBatch();
            }
            want(Arrays.stream(statement.executeBatch()).sum(), 500);
            connection.commit();
            statement.setInt(1, 7);
            statement.addBatch();
            wantState("23505", same -> statement.executeBatch(), connection);
        }
        connection.rollback();
        want(number(connection, "select count(*) from t"), 500L);
    }

    private static void refusedInTransaction(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        want(number(connection, "select 1"), 1L);
        wantState("42501", same -> run(same, REFUSED), connection);
        wantState("25P02", same -> number(same, "select 1"), connection);
        connection.rollback();
        want(number(connection, "select 1"), 1L);
    }

    private static void refusedInBatch(Connection connection) throws Exception {
        run(connection, "create temp table t (a int)");
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.addBatch("insert into t values (1)");
            statement.addBatch(REFUSED);
            statement.addBatch("insert into t values (2)");
            wantState("42501", same -> statement.executeBatch(), connection);
        }
        connection.rollback();
        want(number(connection, "select count(*) from t"), 0L);
    }

    private static void savepoints(Connection connection) throws Exception {
        run(connection, "create temp table t (a int)");
        connection.setAutoCommit(false);
        run(connection, "insert into t values (1)");
        Savepoint savepoint = connection.setSavepoint();
        wantState("42501", same -> run(same, REFUSED), connection);
        connection.rollback(savepoint);
        run(connection, "insert into t values (2)");
        connection.commit();
        want(number(connection, "select count(*) from t"), 2L);
    }

    private static void portions(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(13);
            long sum = 0;
            try (ResultSet rows = statement.executeQuery("select generate_series(1, 1000)")) {
                while (rows.next()) {
                    sum += rows.getInt(1);
                }
            }
            want(sum, 500500L);
        }
        connection.commit();
    }

    private static void copyBothWays(Connection connection) throws Exception {
        run(connection, "create temp table t (a int)");
        StringBuilder lines = new StringBuilder();
        for (int n = 0; n < 5000; n++) {
            lines.append(n).append('\n');
        }
        var copies = connection.unwrap(PGConnection.class).getCopyAPI();
        want(copies.copyIn("copy t from stdin", new StringReader(lines.toString())), 5000L);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        want(copies.copyOut("copy t to stdout", out), 5000L);
        want(out.toString(), lines.toString());
        wantState("22P02", same -> copies.copyIn("copy t from stdin", new StringReader("x\n")), connection);
        var unfinished = copies.copyIn("copy t from stdin");
        unfinished.writeToCopy("1\n".getBytes(), 0, 2);
        unfinished.cancelCopy();
        want(number(connection, "select count(*) from t"), 5000L);
    }

    private static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            CompletableFuture.delayedExecutor(200, TimeUnit.MILLISECONDS).execute(() -> {
                try {
                    statement.cancel();
                } catch (SQLException error) {
                    throw new IllegalStateException(error);
                }
            });
            wantState("57014", same -> statement.execute("select pg_sleep(20)"), connection);
        }
        for (int n = 0; n < 20; n++) {
            want(number(connection, "select " + n), (long) n);
        }
    }

    private static void timeLimit(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            wantState("57014", same -> statement.execute("select pg_sleep(20)"), connection);
        }
        want(number(connection, "select 1"), 1L);
    }

    private static void notifications(Connection connection) throws Exception {
        run(connection, "listen pgjdbc", "notify pgjdbc, 'payload'");
        var told = connection.unwrap(PGConnection.class).getNotifications(5000);
        want(told.length, 1);
        want(told[0].getParameter(), "payload");
    }

    private static void largeObjects(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        var manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
        long oid = manager.createLO();
        byte[] content = "large".repeat(10000).getBytes();
        try (LargeObject object = manager.open(oid)) {
            object.write(content);
            object.seek(0);
            want(Arrays.equals(object.read(content.length), content), true);
            object.truncate(5);
            want(object.size(), 5);
        }
        manager.unlink(oid);
        connection.commit();
    }

    /** Which pgjdbc sends as parameters of type void, for the database to drop from the call. */
    private static void outParameters(Connection connection) throws Exception {
        if (connection.unwrap(PGConnection.class).getPreferQueryMode() == PreferQueryMode.SIMPLE) {
            return; // there pgjdbc writes NULL in their stead, and PostgreSQL knows no such function
        }
        run(connection, "create or replace function halves(whole int, out half int, out rest int) language sql"
                + " as $$ select $1 / 2, $1 % 2 $$");
        try (CallableStatement call = connection.prepareCall("{call halves(?, ?, ?)}")) {
            call.registerOutParameter(2, Types.INTEGER);
            call.registerOutParameter(3, Types.INTEGER);
            for (int whole = 1; whole < 10; whole++) {
                call.setInt(1, whole);
                call.execute();
                want(call.getInt(2), whole / 2);
                want(call.getInt(3), whole % 2);
            }
        }
    }

    private static void metadata(Connection connection) throws Exception {
        var metadata = connection.getMetaData();
        try (ResultSet columns = metadata.getColumns(null, "public", "items", "%")) {
            columns.next();
            want(columns.getString("COLUMN_NAME"), "id");
        }
        try (ResultSet keys = metadata.getPrimaryKeys(null, "public", "items")) {
            keys.next();
            want(keys.getString("PK_NAME"), "items_pkey");
        }
        try (ResultSet functions = metadata.getFunctions(null, "pg_catalog", "lower")) {
            want(functions.next(), true);
        }
    }

    /** What a tool asks that shows a database: no more than the catalogs is needed for it. */
    private static void allMetadata(Connection connection) throws Exception {
        var metadata = connection.getMetaData();
        String schema = "public";
        ResultSet[] answers = {
            metadata.getSchemas(), metadata.getCatalogs(), metadata.getTableTypes(), metadata.getTypeInfo(),
            metadata.getTables(null, schema, "%", null), metadata.getTables(null, null, "%", new String[] {"VIEW"}),
            metadata.getColumns(null, schema, "%", "%"), metadata.getPrimaryKeys(null, schema, "things"),
            metadata.getIndexInfo(null, schema, "things", false, true), metadata.getImportedKeys(null, schema, "things"),
            metadata.getExportedKeys(null, schema, "owners"),
            metadata.getCrossReference(null, schema, "owners", null, schema, "things"),
            metadata.getProcedures(null, null, "%"), metadata.getProcedureColumns(null, null, "%", "%"),
            metadata.getFunctions(null, null, "%"), metadata.getFunctionColumns(null, schema, "%", "%"),
            metadata.getUDTs(null, schema, "%", null), metadata.getTablePrivileges(null, schema, "%"),
            metadata.getColumnPrivileges(null, schema, "pg_class", "%"), metadata.getClientInfoProperties(),
            metadata.getBestRowIdentifier(null, schema, "things", 0, true),
            metadata.getVersionColumns(null, schema, "things"),
        };
        for (ResultSet answer : answers) {
            while (answer.next()) {
                answer.getString(1);
            }
        }
        want(metadata.getMaxColumnNameLength() > 0 && metadata.getMaxIndexLength() >= 0, true);
        want(metadata.getSQLKeywords().isEmpty(), false);
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("select relname, oid from pg_catalog.pg_class")) {
            want(rows.getMetaData().getTableName(1), "pg_class");
            want(rows.getMetaData().isAutoIncrement(2), false);
            rows.getMetaData().isNullable(1);
        }
        connection.setReadOnly(true);
        connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        want(connection.getTransactionIsolation(), Connection.TRANSACTION_SERIALIZABLE);
        want(connection.isValid(5), true);
    }

    private static void severalResults(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            want(statement.execute("select 1; select 2"), true);
            want(statement.getMoreResults(), true);
            try (ResultSet rows = statement.getResultSet()) {
                rows.next();
                want(rows.getInt(1), 2);
            }
        }
    }
}
