import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.Arrays;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** What a Java job does with the JDBC driver; prints everything that it sees. Run directly and through the gateway. */
public class Job {
  static void show(String what, Object value) {
    System.out.println(what + " " + value);
  }

  static Connection connect(String... options) throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("user", System.getenv("PGUSER"));
    properties.setProperty("password", System.getenv("PGPASSWORD"));
    for (int i = 0; i < options.length; i += 2) properties.setProperty(options[i], options[i + 1]);
    return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), properties);
  }

  static String row(ResultSet rows) throws SQLException {
    StringBuilder out = new StringBuilder();
    for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++) {
      Object value = rows.getObject(i);
      out.append(rows.getMetaData().getColumnName(i)).append('=').append(value instanceof byte[] b ? Arrays.toString(b) : value).append(' ');
    }
    return out.toString();
  }

  static void statements(Connection conn, String mode) throws Exception {
    try (Statement s = conn.createStatement()) {
      s.execute("drop table if exists j");
      s.execute("create table j (id serial primary key, t text, n numeric, d date, at timestamp, raw bytea, tags text[], b boolean, f float8, u uuid)");
    }
    try (PreparedStatement insert = conn.prepareStatement("insert into j (t, n, d, at, raw, tags, b, f, u) values (?, ?, ?, ?, ?, ?, ?, ?, ?)", Statement.RETURN_GENERATED_KEYS)) {
      for (int i = 0; i < 40; i++) {
        insert.setString(1, "row " + i);
        insert.setBigDecimal(2, new java.math.BigDecimal(i + ".25"));
        insert.setDate(3, Date.valueOf("2026-02-03"));
        insert.setTimestamp(4, Timestamp.valueOf("2026-02-03 04:05:06.789"));
        // The driver has no literal for bytes in simple mode.
        if (mode.equals("simple")) insert.setNull(5, Types.BINARY);
        else insert.setBytes(5, new byte[] {0, (byte) i, -1});
        insert.setArray(6, conn.createArrayOf("text", new String[] {"a", null, "b,c"}));
        insert.setBoolean(7, i % 2 == 0);
        insert.setDouble(8, i / 3.0);
        insert.setObject(9, java.util.UUID.fromString("00000000-0000-0000-0000-0000000000" + (10 + i)));
        insert.addBatch();
      }
      show(mode + " batch", insert.executeBatch().length);
      try (ResultSet keys = insert.getGeneratedKeys()) {
        int sum = 0;
        while (keys.next()) sum += keys.getInt(1);
        show(mode + " keys", sum);
      }
    }
    // Past the driver's threshold the statement is named, and its results binary.
    try (PreparedStatement select = conn.prepareStatement("select * from j where id = ?")) {
      for (int i = 1; i <= 8; i++) {
        select.setInt(1, i);
        try (ResultSet rows = select.executeQuery()) {
          while (rows.next()) show(mode + " row", row(rows));
        }
      }
    }
    conn.setAutoCommit(false);
    try (PreparedStatement paged = conn.prepareStatement("select id from j order by id")) {
      paged.setFetchSize(7);
      int sum = 0;
      try (ResultSet rows = paged.executeQuery()) {
        while (rows.next()) sum += rows.getInt(1);
      }
      show(mode + " paged", sum);
    }
    Savepoint before = conn.setSavepoint("before");
    try (Statement s = conn.createStatement()) {
      s.executeUpdate("update j set t = 'changed' where id = 1");
      s.execute("select 1/0");
    } catch (SQLException error) {
      show(mode + " error", error.getSQLState() + " " + error.getMessage());
    }
    conn.rollback(before);
    try (Statement s = conn.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
        ResultSet rows = s.executeQuery("select id, t from j where id < 4 order by id")) {
      rows.last();
      rows.updateString("t", "through the result set");
      rows.updateRow();
      rows.first();
      show(mode + " scrolled", row(rows));
    }
    conn.commit();
    conn.setAutoCommit(true);
    try (Statement s = conn.createStatement(); ResultSet rows = s.executeQuery("select t from j where id = 3")) {
      rows.next();
      show(mode + " updated", rows.getString(1));
    }
    try (Statement s = conn.createStatement()) {
      boolean more = s.execute("select 1; update j set b = true where id < 3; select 2");
      show(mode + " first", more);
      show(mode + " count", !s.getMoreResults() ? s.getUpdateCount() : -1);
      show(mode + " last", s.getMoreResults());
    }
  }

  public static void main(String[] args) throws Exception {
    for (String mode : new String[] {"extended", "extendedForPrepared", "simple"}) {
      try (Connection conn = connect("preferQueryMode", mode)) {
        statements(conn, mode);
      }
    }
    try (Connection conn = connect("prepareThreshold", "1", "reWriteBatchedInserts", "true", "binaryTransfer", "true")) {
      show("valid", conn.isValid(5));
      DatabaseMetaData meta = conn.getMetaData();
      try (ResultSet columns = meta.getColumns(null, "public", "j", "%")) {
        while (columns.next()) show("column", columns.getString("COLUMN_NAME") + " " + columns.getString("TYPE_NAME"));
      }
      try (ResultSet keys = meta.getPrimaryKeys(null, "public", "j")) {
        while (keys.next()) show("key", keys.getString("COLUMN_NAME"));
      }
      try (ResultSet types = meta.getTypeInfo()) {
        int n = 0;
        while (types.next()) n++;
        show("types", n > 50);
      }
      CopyManager copy = conn.unwrap(PGConnection.class).getCopyAPI();
      show("copied in", copy.copyIn("copy j (t, n) from stdin csv", new StringReader("\"a,b\",1.5\nplain,2\n")));
      StringWriter out = new StringWriter();
      show("copied out", copy.copyOut("copy (select t, n from j where id > 40 order by id) to stdout", out));
      show("copy", out);
      try (Statement slow = conn.createStatement()) {
        slow.setQueryTimeout(1);
        slow.execute("select pg_sleep(30)");
      } catch (SQLException error) {
        show("timeout", error.getSQLState());
      }
      try (Statement s = conn.createStatement(); ResultSet rows = s.executeQuery("select count(*) from j")) {
        rows.next();
        show("after", rows.getInt(1));
      }
    }
  }
}
