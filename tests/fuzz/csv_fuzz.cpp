// Any bytes must be a table or give a promiseg::Error, and a table that is written again must be
// read back as it was.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/io/csv.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<promiseg::CsvRecord> records;
  try {
    records = promiseg::parse_csv({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const promiseg::Error&) {  // the other accepted outcome
    return 0;
  }
  std::string text = "\xEF\xBB\xBF";  // passed over, unlike a second one
  for (const promiseg::CsvRecord& record : records) {
    for (const std::string& field : record.fields) {
      // An empty field alone would be an empty line.
      text += field.empty() ? "\"\"" : promiseg::csv_field(field);
      text += &field == &record.fields.back() ? "\n" : ",";
    }
  }
  const std::vector<promiseg::CsvRecord> again = promiseg::parse_csv(text, "written");
  if (again.size() != records.size()) std::abort();
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (again[i].fields != records[i].fields) std::abort();
  }
  return 0;
}
