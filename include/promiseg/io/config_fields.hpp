// Plain structs as JSON objects: a struct lists its fields once, for reading and for writing.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "promiseg/core/tensor_view.hpp"
#include "promiseg/io/json.hpp"

namespace promiseg {
namespace detail {

/// Names of an enumeration's values in JSON, in the order of the values.
template <class E>
struct EnumNames;
template <class T>
Json to_json_value(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return EnumNames<T>::kNames[static_cast<std::size_t>(value)];
  } else if constexpr (requires { to_json(value); }) {
    return to_json(value);
  } else if constexpr (std::is_same_v<T, Index>) {
    return static_cast<std::int64_t>(value);
  } else if constexpr (requires { value.begin(); } && !std::is_same_v<T, std::string>) {
    Json::Array items;
    for (const auto& item : value) items.push_back(to_json_value(item));
    return items;
  } else {
    return value;
  }
}

template <class T>
void from_json_value(const Json& json, T& value) {
  if constexpr (std::is_enum_v<T>) {
    std::string expected;
    for (std::size_t i = 0; i < EnumNames<T>::kNames.size(); ++i) {
      if (json.as_string() == EnumNames<T>::kNames[i]) {
        value = static_cast<T>(i);
        return;
      }
      expected += (i > 0 ? " or " : "") + std::string(EnumNames<T>::kNames[i]);
    }
    fail(ErrorCode::bad_format, "expected ", expected, ", got ", json.as_string());
  } else if constexpr (requires { apply_json(json, value); }) {
    apply_json(json, value);
  } else if constexpr (std::is_same_v<T, Index>) {
    value = static_cast<Index>(json.as_integer());
    require(value >= 0, ErrorCode::invalid_argument, "expected no negative number, got ", value);
  } else if constexpr (std::is_same_v<T, double>) {
    value = json.as_number();
  } else if constexpr (std::is_same_v<T, bool>) {
    value = json.as_bool();
  } else if constexpr (std::is_same_v<T, std::string>) {
    value = json.as_string();
  } else {
    value.clear();
    for (const Json& item : json.as_array()) {
      if constexpr (std::is_same_v<T, std::vector<double>>) {
        value.push_back(item.as_number());
      } else {
        value.push_back(static_cast<Index>(item.as_integer()));
        require(value.back() >= 0, ErrorCode::invalid_argument, "expected no negative number");
      }
    }
  }
}

/// Sets one field from the member of that name, if there is one. Throws `invalid_argument`.
template <class T>
void apply_field(const Json& json, const char* name, T& field) {
  const Json* value = json.find(name);
  if (value == nullptr) return;
  try {
    from_json_value(*value, field);
  } catch (const Error& error) {
    fail(ErrorCode::invalid_argument, "config field \"", name, "\": ", error.what());
  }
}

/// An object of all fields; `visit_all` calls its argument with the name and value of each.
template <class VisitAll>
Json fields_to_json(const VisitAll& visit_all) {
  Json json;
  visit_all([&](const char* name, const auto& field) { json.set(name, to_json_value(field)); });
  return json;
}

/// Sets the fields that an object names. Throws `invalid_argument` for a member that is no field.
template <class VisitAll>
void apply_fields(const Json& json, const VisitAll& visit_all) {
  std::vector<std::string_view> known;
  visit_all([&](const char* name, auto& field) {
    known.emplace_back(name);
    apply_field(json, name, field);
  });
  for (const auto& member : json.as_object()) {
    bool found = false;
    for (std::string_view name : known) found = found || name == member.first;
    require(found, ErrorCode::invalid_argument, "unknown config field \"", member.first, "\"");
  }
}

}  // namespace detail
}  // namespace promiseg
