#include "tensor_shapes.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>

namespace promiseg::tools {

bool TensorShapes::contains_prefix(std::string_view prefix) const {
  const auto first = tensors_.lower_bound(prefix);
  return first != tensors_.end() && first->first.starts_with(prefix);
}

const std::vector<Index>& TensorShapes::at(const std::string& name, std::size_t rank) const {
  const auto entry = tensors_.find(name);
  require(entry != tensors_.end(), ErrorCode::bad_weights, label_, ": tensor \"", name,
          "\" is missing; expected ", whole_);
  const std::vector<Index>& shape = entry->second.shape;
  const bool plausible = std::all_of(shape.begin(), shape.end(), [](Index extent) {
    return extent > 0 && extent <= std::numeric_limits<std::int32_t>::max();
  });
  check(shape.size() == rank && plausible, name, rank, " axes, none of them empty");
  return shape;
}

Index TensorShapes::count(const std::string& prefix) const {
  constexpr Index kMost = 4096;  // beyond every limit of `validate`
  Index count = 0;
  for (auto entry = tensors_.lower_bound(prefix);
       entry != tensors_.end() && entry->first.starts_with(prefix); ++entry) {
    const std::string_view rest = std::string_view(entry->first).substr(prefix.size());
    Index number = 0;
    const auto [end, status] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (status != std::errc{} || number < 0 || end == rest.data() + rest.size() || *end != '.') {
      continue;
    }
    require(number < kMost, ErrorCode::bad_weights, label_, ": tensor \"", entry->first,
            "\": expected at most ", kMost, " parts named \"", prefix, "N\"");
    count = std::max(count, number + 1);
  }
  return count;
}

}  // namespace promiseg::tools
