#include "promiseg/io/csv.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "temporary_folder.hpp"

using promiseg::csv_field;
using promiseg::CsvRecord;
using promiseg::Error;
using promiseg::ErrorCode;
using promiseg::parse_csv;
using promiseg_test::TemporaryFolder;
using promiseg_test::write_bytes;

namespace {

using Table = std::vector<std::vector<std::string>>;

Table fields_of(std::string_view text) {
  Table table;
  for (const CsvRecord& record : parse_csv(text, "table.csv")) table.push_back(record.fields);
  return table;
}

std::string refusal(std::string_view text) {
  try {
    parse_csv(text, "table.csv");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::bad_format);
    return error.what();
  }
  return "read without an error";
}

void check_refusal(std::string_view text, std::string_view expected) {
  const std::string message = refusal(text);
  INFO(message);
  CHECK(message.starts_with(expected));
}

}  // namespace

TEST_CASE("CSV: records, line ends, a byte order mark, empty lines") {
  const Table expected{{"a", "b"}, {"1", "2"}};
  CHECK(fields_of("a,b\n1,2\n") == expected);
  CHECK(fields_of("a,b\r\n1,2") == expected);
  CHECK(fields_of("\xEF\xBB\xBF\"a\",b\n1,2\r\n") == expected);
  CHECK(fields_of("\n\r\na,b\n\n1,2\n\n\n") == expected);
  CHECK(fields_of("").empty());
  CHECK(fields_of("\xEF\xBB\xBF\n").empty());
  CHECK(fields_of("a, b ,,\n") == Table{{"a", " b ", "", ""}});
  CHECK(fields_of(",") == Table{{"", ""}});
  CHECK(fields_of("\"\"\n") == Table{{""}});
}

TEST_CASE("CSV: quoted fields hold commas, quotation marks and lines, and lines are counted") {
  CHECK(fields_of("\"a,b\",\"say \"\"yes\"\"\",\"\"\"\"\n") == Table{{"a,b", "say \"yes\"", "\""}});
  const std::vector<CsvRecord> records = parse_csv("a,\"b\nc\r\n\"\r\n\nd,e\nf,\"\"\n", "t");
  REQUIRE(records.size() == 3);
  CHECK(records[0].fields == std::vector<std::string>{"a", "b\nc\r\n"});
  CHECK(records[0].line == 1);
  CHECK(records[1].line == 5);
  CHECK(records[2].line == 6);
  CHECK(records[2].fields == std::vector<std::string>{"f", ""});
}

TEST_CASE("CSV: broken tables are refused, with the line") {
  check_refusal("a,b\nc,d\"e\n", "table.csv, line 2: a quotation mark inside");
  check_refusal("a,b\n\n\"c\"d,e\n", "table.csv, line 3: text after");
  check_refusal("a,b\n\"c\n\n,d\n", "table.csv, line 2: a field begins with a quotation mark");
  check_refusal("\"", "table.csv, line 1: a field begins");
  check_refusal("a,b\nc\n", "table.csv, line 2: expected 2 fields");
  check_refusal("a,b\nc,d,e\n", "table.csv, line 2: expected 2 fields");
  check_refusal("a,b\rc,d\n", "table.csv, line 1: a carriage return");
  check_refusal(std::string_view("a,b\n\0,c\n", 8), "table.csv: not a table");
}

TEST_CASE("CSV: fields that were written are read back") {
  CHECK(csv_field("plain text") == "plain text");
  CHECK(csv_field("") == "");
  CHECK(csv_field("a,b") == "\"a,b\"");
  CHECK(csv_field("a \"b\"") == "\"a \"\"b\"\"\"");
  std::mt19937 random(3);
  constexpr std::string_view kLetters = "ab,\"\r\n ";
  for (int round = 0; round < 500; ++round) {
    std::vector<std::string> fields(2 + random() % 3);
    std::string line;
    for (std::string& field : fields) {
      for (std::size_t i = random() % 6; i > 0; --i) field += kLetters[random() % kLetters.size()];
      line += (&field == fields.data() ? "" : ",") + csv_field(field);
    }
    CAPTURE(line);
    CHECK(fields_of(line + "\r\n") == Table{fields});
  }
}

TEST_CASE("CSV: files") {
  const TemporaryFolder folder;
  write_bytes(folder / "t.csv", std::string("a,b\nc,d\n"));
  CHECK(promiseg::read_csv(folder / "t.csv").size() == 2);
  write_bytes(folder / "t.csv", std::string("a,b\nc\n"));
  const std::string start = (folder / "t.csv").string() + ", line 2";
  CHECK_THROWS_WITH_AS(promiseg::read_csv(folder / "t.csv"), doctest::Contains(start.c_str()),
                       Error);
  CHECK_THROWS_AS(promiseg::read_csv(folder / "none.csv"), Error);
}
