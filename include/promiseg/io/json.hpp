// A small JSON value with a strict parser and a writer: enough for safetensors headers, model
// configs and reports, with nothing but the standard library.
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "promiseg/core/error.hpp"

namespace promiseg {

/// A JSON value. Objects keep the order of their members.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  Json() = default;
  Json(std::nullptr_t /*null*/) {}                              // NOLINT
  Json(bool value) : value_(value) {}                           // NOLINT
  Json(std::int64_t value) : value_(value) {}                   // NOLINT
  Json(int value) : value_(std::int64_t{value}) {}              // NOLINT
  Json(double value) : value_(value) {}                         // NOLINT
  Json(std::string value) : value_(std::move(value)) {}         // NOLINT
  Json(std::string_view value) : value_(std::string(value)) {}  // NOLINT
  Json(const char* value) : value_(std::string(value)) {}       // NOLINT
  Json(Array value) : value_(std::move(value)) {}               // NOLINT
  Json(Object value) : value_(std::move(value)) {}              // NOLINT

  /// An array of the numbers or strings of a range.
  template <class Range>
  static Json array(const Range& range) {
    Array items;
    for (const auto& item : range) items.emplace_back(item);
    return items;
  }

  /// Parses RFC 8259 text, up to 64 levels deep. Bytes of strings are kept as they are, valid UTF-8
  /// or not. Throws `bad_format` with the byte offset.
  static Json parse(std::string_view text);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(value_); }
  bool is_number() const { return is_integer() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  // Typed access; each throws `bad_format` naming the type that was expected and the one present.
  bool as_bool() const { return get<bool>("true or false"); }
  std::int64_t as_integer() const { return get<std::int64_t>("a whole number"); }
  double as_number() const {
    return is_integer() ? static_cast<double>(as_integer()) : get<double>("a number");
  }
  const std::string& as_string() const { return get<std::string>("a string"); }
  const Array& as_array() const { return get<Array>("an array"); }
  const Object& as_object() const { return get<Object>("an object"); }

  /// The member of an object, or null if there is none.
  const Json* find(std::string_view key) const {
    if (!is_object()) return nullptr;
    for (const auto& [name, value] : std::get<Object>(value_)) {
      if (name == key) return &value;
    }
    return nullptr;
  }

  /// The member of an object; throws `bad_format` naming the key if there is none.
  const Json& at(std::string_view key) const {
    const Json* member = find(key);
    require(member != nullptr, ErrorCode::bad_format, "JSON: no member \"", key, "\"");
    return *member;
  }

  /// Sets a member of an object, adding it at the end if it is new. A null value becomes an object.
  void set(std::string key, Json value) {
    if (is_null()) value_ = Object{};
    as_object();
    Object& members = std::get<Object>(value_);
    for (auto& [name, existing] : members) {
      if (name == key) {
        existing = std::move(value);
        return;
      }
    }
    members.emplace_back(std::move(key), std::move(value));
  }

  void push_back(Json value) {
    if (is_null()) value_ = Array{};
    as_array();
    std::get<Array>(value_).push_back(std::move(value));
  }

  /// JSON text; `indent` spaces a level, or everything on one line if zero. NaN and infinities,
  /// which JSON does not know, become null; so that the text is UTF-8 whatever the strings hold
  /// (file names, say), each byte that is not becomes U+FFFD.
  std::string dump(int indent = 0) const {
    std::string text;
    write(text, indent, 0);
    return text;
  }

  /// "an array", "a string", ... for messages.
  std::string_view type_name() const {
    constexpr std::string_view kNames[] = {
        "null", "true or false", "a whole number", "a number", "a string", "an array", "an object"};
    return kNames[value_.index()];
  }

  friend bool operator==(const Json&, const Json&) = default;

 private:
  template <class T>
  const T& get(std::string_view expected) const {
    const T* value = std::get_if<T>(&value_);
    require(value != nullptr, ErrorCode::bad_format, "JSON: expected ", expected, ", got ",
            type_name());
    return *value;
  }

  /// Bytes of the UTF-8 sequence at the start of a text that is not empty; 0 if it is none.
  static std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = byte(0);
    if (lead < 0x80) return 1;
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
    for (std::size_t i = 1; i < length; ++i) {
      if ((byte(i) & 0xC0) != 0x80) return 0;
    }
    // What the second byte excludes: encodings longer than needed, surrogates, beyond U+10FFFF.
    const unsigned next = byte(1);
    const bool excluded = (lead == 0xE0 && next < 0xA0) || (lead == 0xED && next > 0x9F) ||
                          (lead == 0xF0 && next < 0x90) || (lead == 0xF4 && next > 0x8F);
    return excluded ? 0 : length;
  }

  static void write_string(std::string& out, std::string_view text) {
    constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
    out += '"';
    while (!text.empty()) {
      const std::size_t length = utf8_length(text);
      if (length == 1) {
        write_ascii(out, text.front());
      } else {
        out += length == 0 ? kReplacement : text.substr(0, length);
      }
      text.remove_prefix(length == 0 ? 1 : length);
    }
    out += '"';
  }

  static void write_ascii(std::string& out, char c) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          char escaped[8];
          std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
          out += escaped;
        } else {
          out += c;
        }
    }
  }

  static void write_number(std::string& out, double value) {
    if (!std::isfinite(value)) {
      out += "null";
      return;
    }
    char digits[32];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
    out.append(digits, end);
  }

  static void new_line(std::string& out, int indent, int level) {
    if (indent == 0) return;
    out += '\n';
    out.append(static_cast<std::size_t>(indent) * static_cast<std::size_t>(level), ' ');
  }

  void write(std::string& out, int indent, int level) const {
    if (is_null()) {
      out += "null";
    } else if (is_bool()) {
      out += as_bool() ? "true" : "false";
    } else if (is_integer()) {
      out += std::to_string(as_integer());
    } else if (is_number()) {
      write_number(out, as_number());
    } else if (is_string()) {
      write_string(out, as_string());
    } else if (is_array()) {
      write_array(out, indent, level);
    } else {
      write_object(out, indent, level);
    }
  }

  void write_array(std::string& out, int indent, int level) const {
    const Array& items = as_array();
    bool nested = false;
    for (const Json& item : items) nested = nested || item.is_array() || item.is_object();
    const int inner = nested ? indent : 0;  // rows of plain values stay on one line
    out += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += inner > 0 ? "," : ", ";
      new_line(out, inner, level + 1);
      items[i].write(out, inner, level + 1);
    }
    if (!items.empty()) new_line(out, inner, level);
    out += ']';
  }

  void write_object(std::string& out, int indent, int level) const {
    const Object& members = as_object();
    out += '{';
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (i > 0) out += indent > 0 ? "," : ", ";
      new_line(out, indent, level + 1);
      write_string(out, members[i].first);
      out += ": ";
      members[i].second.write(out, indent, level + 1);
    }
    if (!members.empty()) new_line(out, indent, level);
    out += '}';
  }

  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

namespace detail {

/// Recursive descent over the text; depth is bounded, so hostile nesting cannot exhaust the stack.
class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Json document() {
    Json value = this->value(0);
    skip_space();
    if (at_ != text_.size()) error("end of text");
    return value;
  }

 private:
  static constexpr int kMaxDepth = 64;

  [[noreturn]] void error(std::string_view expected) const {
    fail(ErrorCode::bad_format, "JSON: expected ", expected, " at byte ", at_);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    while (at_ < text_.size() &&
           (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t')) {
      ++at_;
    }
  }

  bool accept(std::string_view token) {
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }

  Json value(int depth) {
    if (depth > kMaxDepth) error("at most 64 levels of nesting");
    skip_space();
    switch (peek()) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      case 't':
        return literal("true", true);
      case 'f':
        return literal("false", false);
      case 'n':
        return literal("null", nullptr);
      default:
        return number();
    }
  }

  Json literal(std::string_view word, Json value) {
    if (!accept(word)) error("a value");
    return value;
  }

  Json object(int depth) {
    Json::Object members;
    ++at_;
    skip_space();
    if (accept("}")) return members;
    while (true) {
      skip_space();
      if (peek() != '"') error("a member name");
      std::string name = string();
      skip_space();
      if (!accept(":")) error("':'");
      members.emplace_back(std::move(name), value(depth + 1));
      skip_space();
      if (accept("}")) return members;
      if (!accept(",")) error("',' or '}'");
    }
  }

  Json array(int depth) {
    Json::Array items;
    ++at_;
    skip_space();
    if (accept("]")) return items;
    while (true) {
      items.push_back(value(depth + 1));
      skip_space();
      if (accept("]")) return items;
      if (!accept(",")) error("',' or ']'");
    }
  }

  /// False if there is none.
  bool skip_digits() {
    const std::size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ > begin;
  }

  Json number() {
    const std::size_t begin = at_;
    accept("-");
    const std::size_t first_digit = at_;
    if (!skip_digits()) error("a value");
    if (text_[first_digit] == '0' && at_ - first_digit > 1) error("a number without leading zeros");
    bool integer = true;
    if (accept(".")) {
      integer = false;
      if (!skip_digits()) error("a digit after the decimal point");
    }
    if (accept("e") || accept("E")) {
      integer = false;
      if (!accept("+")) accept("-");
      if (!skip_digits()) error("a digit of the exponent");
    }
    const char* first = text_.data() + begin;
    const char* last = text_.data() + at_;
    if (integer) {
      std::int64_t whole = 0;
      const auto [end, status] = std::from_chars(first, last, whole);
      if (status == std::errc{} && end == last) return whole;
    }
    double real = 0;
    const auto [end, status] = std::from_chars(first, last, real);
    if (status != std::errc{} || end != last) error("a number in the range of a double");
    return real;
  }

  std::string string() {
    std::string out;
    ++at_;
    while (true) {
      if (at_ >= text_.size()) error("the end of a string");
      const char c = text_[at_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) error("an escaped control character");
      if (c != '\\') {
        out += c;
        continue;
      }
      escape(out);
    }
  }

  void escape(std::string& out) {
    const char c = peek();
    ++at_;
    switch (c) {
      case '"':
        out += '"';
        break;
      case '\\':
        out += '\\';
        break;
      case '/':
        out += '/';
        break;
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u':
        append_utf8(out, code_point());
        break;
      default:
        error("an escape sequence");
    }
  }

  std::uint32_t hex4() {
    std::uint32_t unit = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto [end, status] =
        std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16);
    if (digits.size() != 4 || status != std::errc{} || end != digits.data() + 4) {
      error("four hexadecimal digits");
    }
    at_ += 4;
    return unit;
  }

  std::uint32_t code_point() {
    const std::uint32_t unit = hex4();
    if (unit < 0xD800 || unit > 0xDFFF) return unit;
    if (unit > 0xDBFF || !accept("\\u")) error("a surrogate pair");
    const std::uint32_t low = hex4();
    if (low < 0xDC00 || low > 0xDFFF) error("a surrogate pair");
    return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
  }

  static void append_utf8(std::string& out, std::uint32_t code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
      return;
    }
    const int continuation = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr std::uint32_t kLead[] = {0, 0xC0, 0xE0, 0xF0};
    out += static_cast<char>(kLead[continuation] | (code >> (6 * continuation)));
    for (int i = continuation - 1; i >= 0; --i) {
      out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace detail

inline Json Json::parse(std::string_view text) { return detail::JsonParser(text).document(); }

}  // namespace promiseg
