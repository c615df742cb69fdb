// The format of torch.save before PyTorch 1.6: five pickles in a row, then the raw storages.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "promiseg/io/state_dict.hpp"
#include "promiseg/io/unpickler.hpp"

namespace promiseg::detail {

static_assert(std::endian::native == std::endian::little, "checkpoint data is little-endian");

/// Where each storage of a legacy file lies.
class LegacyStorages {
 public:
  void add(std::string key, std::span<const std::byte> data) {
    require(data_.emplace(std::move(key), data).second, ErrorCode::bad_format,
            "a storage is stored twice");
  }

  std::uint64_t size(std::string_view key) const { return read(key).size(); }

  std::span<const std::byte> read(std::string_view key) const {
    const auto storage = data_.find(key);
    require(storage != data_.end(), ErrorCode::bad_format, "its storage \"", printable(key),
            "\" is missing");
    return storage->second;
  }

 private:
  std::map<std::string, std::span<const std::byte>, std::less<>> data_;
};

/// Reads the pickles of a legacy file one after the other.
class LegacyReader {
 public:
  explicit LegacyReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  PickleTree next_pickle() {
    Unpickled pickle = unpickle(rest_);
    rest_ = rest_.subspan(pickle.size);
    return std::move(pickle.tree);
  }

  std::span<const std::byte> take(std::uint64_t count, std::string_view what) {
    require(count <= rest_.size(), ErrorCode::bad_format, what, ": expected ", count,
            " bytes, the file ends after ", rest_.size());
    const auto part = rest_.first(static_cast<std::size_t>(count));
    rest_ = rest_.subspan(part.size());
    return part;
  }

 private:
  std::span<const std::byte> rest_;
};

/// Bytes per element of every storage the pickle names.
inline std::map<std::string_view, std::size_t> storage_widths(const PickleTree& tree) {
  std::map<std::string_view, std::size_t> widths;
  for (const PickleValue& value : tree.values) {
    const auto* storage = std::get_if<PickleStorage>(&value);
    if (storage == nullptr) continue;
    const std::string_view key = *tree.find<std::string>(storage->key);
    const std::size_t width = size_of(storage->dtype);
    require(widths.emplace(key, width).first->second == width, ErrorCode::bad_format, "storage \"",
            printable(key), "\" has two element types");
  }
  return widths;
}

/// The storages that follow the pickled list of their keys: an i64 count, then the elements.
inline LegacyStorages read_legacy_storages(LegacyReader& reader, const PickleTree& object) {
  const PickleTree keys = reader.next_pickle();
  const auto* list = keys.find<PickleList>(keys.root);
  require(list != nullptr, ErrorCode::bad_format, "expected a list of storage keys, got ",
          kind_name(keys[keys.root]));
  const std::map<std::string_view, std::size_t> widths = storage_widths(object);
  LegacyStorages storages;
  for (PickleId id : list->items) {
    const auto* key = keys.find<std::string>(id);
    const auto width = key != nullptr ? widths.find(*key) : widths.end();
    require(width != widths.end(), ErrorCode::bad_format, "storage ", key_text(keys, id),
            " belongs to no tensor");
    const std::string what = "storage \"" + printable(*key) + "\"";
    std::int64_t count = 0;
    std::memcpy(&count, reader.take(sizeof count, what).data(), sizeof count);
    require(count >= 0, ErrorCode::bad_format, what, ": it claims ", count, " elements");
    storages.add(
        *key,
        reader.take(saturating_multiply(static_cast<std::uint64_t>(count), width->second), what));
  }
  return storages;
}

/// Fails unless the two pickles after the magic number tell of this format, little-endian.
inline void check_legacy_header(LegacyReader& reader) {
  static constexpr std::int64_t kProtocolVersion = 1001;
  const PickleTree version = reader.next_pickle();
  const auto* number = version.find<std::int64_t>(version.root);
  require(number != nullptr && *number == kProtocolVersion, ErrorCode::bad_format,
          "expected torch.save protocol version ", kProtocolVersion);
  const PickleTree system = reader.next_pickle();
  const auto* facts = system.find<PickleDict>(system.root);
  require(facts != nullptr, ErrorCode::bad_format, "the description of the writing system is ",
          kind_name(system[system.root]));
  for (const auto& [key, value] : facts->entries) {
    const auto* name = system.find<std::string>(key);
    const auto* flag = system.find<bool>(value);
    require(name == nullptr || *name != "little_endian" || flag == nullptr || *flag,
            ErrorCode::unsupported, "the checkpoint was written on a big-endian machine");
  }
}

/// A whole legacy file; empty if the first pickle is not torch.save's magic number.
inline std::optional<TorchCheckpoint> parse_legacy_checkpoint(std::span<const std::byte> bytes) {
  static constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  LegacyReader reader(bytes);
  const PickleTree first = reader.next_pickle();
  const auto* magic = first.find<PickleBigInteger>(first.root);
  if (magic == nullptr || magic->bytes != kMagic) return std::nullopt;
  check_legacy_header(reader);
  const PickleTree object = reader.next_pickle();
  const LegacyStorages storages = read_legacy_storages(reader, object);
  ByteBudget budget(bytes.size());
  return fetch_state_dict(object, storages, budget);
}

}  // namespace promiseg::detail
