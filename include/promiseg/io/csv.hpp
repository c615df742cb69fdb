// Tables as comma-separated values (RFC 4180).
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "promiseg/core/error.hpp"
#include "promiseg/core/tensor_view.hpp"
#include "promiseg/io/file.hpp"

namespace promiseg {

/// One row of a table.
struct CsvRecord {
  std::vector<std::string> fields;
  Index line = 1;  ///< of the file, where the record begins, from 1
};

namespace detail {

/// Walks through the text of a table.
class CsvCursor {
 public:
  CsvCursor(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  bool at_end() const { return at_ == text_.size(); }
  Index line() const { return line_; }

  bool take(char expected) {
    const bool found = !at_end() && text_[at_] == expected;
    if (found) ++at_;
    return found;
  }

  /// Goes over the end of a line, if there is one.
  bool take_line_end() {
    const bool with_return = take('\r');
    if (take('\n')) {
      ++line_;
      return true;
    }
    require(!with_return, ErrorCode::bad_format, name_, ", line ", line_,
            ": a carriage return outside quotation marks without a line feed after it");
    return false;
  }

  std::string field() { return take('"') ? quoted() : plain(); }

 private:
  std::string plain() {
    const std::size_t end = std::min(text_.find_first_of(",\"\r\n", at_), text_.size());
    std::string value(text_.substr(at_, end - at_));
    at_ = end;
    require(at_end() || text_[at_] != '"', ErrorCode::bad_format, name_, ", line ", line_,
            ": a quotation mark inside a field: put the whole field into quotation marks and "
            "double this one");
    return value;
  }

  std::string quoted() {
    const Index begin = line_;
    std::string value;
    bool doubled = false;
    do {
      const std::size_t mark = text_.find('"', at_);
      require(mark != std::string_view::npos, ErrorCode::bad_format, name_, ", line ", begin,
              ": a field begins with a quotation mark and does not end with one");
      const std::string_view part = text_.substr(at_, mark - at_);
      if (doubled) value += '"';
      value += part;
      line_ += static_cast<Index>(std::count(part.begin(), part.end(), '\n'));
      at_ = mark + 1;
      doubled = take('"');
    } while (doubled);
    require(at_end() || std::string_view(",\r\n").find(text_[at_]) != std::string_view::npos,
            ErrorCode::bad_format, name_, ", line ", line_,
            ": text after the quotation mark that ends a field");
    return value;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  Index line_ = 1;
};

}  // namespace detail

/// Reads a table: fields between commas, records on lines that end with CR LF or LF; in quotation
/// marks a field may hold commas, line ends and, doubled, quotation marks. A byte order mark and
/// empty lines are passed over. `name` is for messages. Throws `bad_format`, naming the line, for
/// text that breaks these rules or a record with other than the first one's number of fields.
inline std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& name) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  require(text.find('\0') == std::string_view::npos, ErrorCode::bad_format, name,
          ": not a table in UTF-8, it holds a zero byte");
  detail::CsvCursor cursor(text, name);
  std::vector<CsvRecord> records;
  while (!cursor.at_end()) {
    if (cursor.take_line_end()) continue;
    CsvRecord record{{}, cursor.line()};
    do {
      record.fields.push_back(cursor.field());
    } while (cursor.take(','));
    if (!cursor.at_end()) cursor.take_line_end();
    const std::size_t expected = records.empty() ? record.fields.size() : records[0].fields.size();
    require(record.fields.size() == expected, ErrorCode::bad_format, name, ", line ", record.line,
            ": expected ", expected, " fields as in the first line, got ", record.fields.size());
    records.push_back(std::move(record));
  }
  return records;
}

/// Reads a file as `parse_csv` does. Throws also `not_found`, `invalid_argument` for a folder, and
/// `io`.
inline std::vector<CsvRecord> read_csv(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return parse_csv({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

/// The text of one field as a table holds it: in quotation marks if it needs them.
inline std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (char character : text) {
    if (character == '"') quoted += '"';
    quoted += character;
  }
  return quoted + '"';
}

}  // namespace promiseg
