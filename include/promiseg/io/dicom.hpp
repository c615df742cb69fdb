// DICOM files, by DCMTK: one frame of an image, with its rescaling and window.
#pragma once

// DCMTK's configuration must come before its other headers.
#include <dcmtk/config/osconfig.h>
//
#include <dcmtk/dcmdata/dccodec.h>
#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcfilefo.h>
#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dcxfer.h>
#include <dcmtk/dcmimage/diregist.h>
#include <dcmtk/dcmimgle/dcmimage.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/core/error.hpp"
#include "promiseg/core/image.hpp"
#include "promiseg/io/file.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/intensity.hpp"

namespace promiseg {
namespace detail {

/// While one exists, DCMTK prints nothing. Its loggers belong to the process, so the program's own
/// level is put back when the last one goes.
class DcmtkSilence {
 public:
  DcmtkSilence() {
    State& shared = state();
    const std::lock_guard lock(shared.mutex);
    if (shared.users++ > 0) return;
    OFLogger logger = OFLog::getLogger("dcmtk");
    shared.level = logger.getLogLevel();
    logger.setLogLevel(OFLogger::OFF_LOG_LEVEL);
  }
  DcmtkSilence(const DcmtkSilence&) = delete;
  DcmtkSilence& operator=(const DcmtkSilence&) = delete;
  ~DcmtkSilence() {
    State& shared = state();
    const std::lock_guard lock(shared.mutex);
    if (--shared.users == 0) OFLog::getLogger("dcmtk").setLogLevel(shared.level);
  }

 private:
  struct State {
    std::mutex mutex;
    int users = 0;
    dcmtk::log4cplus::LogLevel level = 0;
  };
  static State& state() {
    static State shared;
    return shared;
  }
};

/// Makes DCMTK's decoders known to it, once in the process; again does no harm.
inline void register_dicom_decoders() {
  static std::once_flag once;
  std::call_once(once, [] {
    DcmRLEDecoderRegistration::registerCodecs();
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
  });
}

/// One frame's header, read and checked.
struct DicomHeader {
  Uint16 rows = 0;
  Uint16 columns = 0;
  Uint16 samples = 1;
  Uint16 bits_allocated = 0;
  Uint16 bits_stored = 0;
  Uint16 high_bit = 0;
  bool is_signed = false;
  std::string photometric;
  Index frames = 1;

  bool is_monochrome() const {
    return photometric == "MONOCHROME1" || photometric == "MONOCHROME2";
  }
  std::uint64_t frame_bytes() const {
    return std::uint64_t{rows} * columns * samples * (bits_allocated / 8u);
  }
};

/// The item of enhanced multi-frame objects that holds `tag` for a frame: its own functional
/// groups, then the shared ones; null if neither has it.
inline DcmItem* dicom_group(DcmDataset& dataset, Index frame, const DcmTagKey& tag) {
  DcmItem* groups = nullptr;
  DcmItem* item = nullptr;
  if (dataset.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, groups, frame).good() &&
      groups->findAndGetSequenceItem(tag, item).good()) {
    return item;
  }
  if (dataset.findAndGetSequenceItem(DCM_SharedFunctionalGroupsSequence, groups).good() &&
      groups->findAndGetSequenceItem(tag, item).good()) {
    return item;
  }
  return nullptr;
}

/// Throws `bad_format` or `unsupported` if the dataset holds no picture we can read.
inline DicomHeader dicom_header(DcmDataset& dataset, const std::string& path) {
  require(dataset.tagExists(DCM_Rows) && dataset.tagExists(DCM_Columns) &&
              dataset.tagExists(DCM_PixelData),
          ErrorCode::bad_format, path,
          ": a DICOM file without a picture: Rows, Columns or Pixel Data (7FE0,0010) is missing");
  DicomHeader header;
  const auto number = [&](const DcmTagKey& tag, std::string_view name, Uint16& to,
                          std::optional<Uint16> otherwise = std::nullopt) {
    if (dataset.findAndGetUint16(tag, to).good()) return;
    require(otherwise.has_value(), ErrorCode::bad_format, path, ": the DICOM attribute ", name,
            " is missing or damaged");
    to = *otherwise;
  };
  number(DCM_Rows, "Rows", header.rows);
  number(DCM_Columns, "Columns", header.columns);
  require_picture_size(path, header.columns, header.rows);
  number(DCM_SamplesPerPixel, "Samples per Pixel", header.samples, Uint16{1});
  number(DCM_BitsAllocated, "Bits Allocated", header.bits_allocated);
  number(DCM_BitsStored, "Bits Stored", header.bits_stored, header.bits_allocated);
  number(DCM_HighBit, "High Bit", header.high_bit, static_cast<Uint16>(header.bits_stored - 1));
  Uint16 representation = 0;
  number(DCM_PixelRepresentation, "Pixel Representation", representation, Uint16{0});
  header.is_signed = representation == 1;

  OFString text;
  require(dataset.findAndGetOFString(DCM_PhotometricInterpretation, text).good(),
          ErrorCode::bad_format, path,
          ": the DICOM attribute Photometric Interpretation is missing");
  header.photometric.assign(text.c_str(), text.length());

  require(header.bits_allocated == 8 || header.bits_allocated == 16, ErrorCode::unsupported, path,
          ": a DICOM picture of ", header.bits_allocated,
          " bits allocated is not supported: expected 8 or 16");
  require(header.bits_stored >= 1 && header.bits_stored <= header.bits_allocated &&
              header.high_bit < header.bits_allocated &&
              header.high_bit + 1 >= header.bits_stored && representation <= 1,
          ErrorCode::bad_format, path, ": contradictory DICOM header: ", header.bits_allocated,
          " bits allocated, ", header.bits_stored, " stored, high bit ", header.high_bit,
          ", pixel representation ", representation);
  const Uint16 expected = header.is_monochrome() || header.photometric == "PALETTE COLOR" ? 1 : 3;
  require(header.samples == expected, ErrorCode::bad_format, path,
          ": contradictory DICOM header: ", header.photometric, " has ", expected,
          " samples a pixel, the file says ", header.samples);

  Sint32 frames = 1;
  if (dataset.tagExistsWithValue(DCM_NumberOfFrames)) {
    require(dataset.findAndGetSint32(DCM_NumberOfFrames, frames).good() && frames >= 1,
            ErrorCode::bad_format, path,
            ": the DICOM attribute Number of Frames is no positive number");
  }
  header.frames = frames;
  return header;
}

/// Throws `unsupported`, naming the transfer syntax, if the pixels are compressed in a way that
/// DCMTK cannot undo (JPEG 2000, video).
inline void require_decodable(const DcmXfer& syntax, const std::string& path) {
  if (!syntax.isEncapsulated()) return;
  require(
      DcmCodecList::canChangeCoding(syntax.getXfer(), EXS_LittleEndianExplicit),
      ErrorCode::unsupported, path, ": the DICOM transfer syntax \"", syntax.getXferName(), "\" (",
      syntax.getXferID(),
      ") is not supported: expected uncompressed, JPEG, JPEG-LS or RLE. Convert the file first,",
      " for example with gdcmconv --raw");
}

/// Throws `bad_format` unless uncompressed pixel data reaches to the end of the frame.
inline void check_native_length(DcmPixelData& pixels, const DicomHeader& header, Index frame,
                                const std::string& path) {
  std::uint64_t frame_bytes = header.frame_bytes();
  // Two pixels share their colours and take four bytes, not six.
  if (header.photometric == "YBR_FULL_422") frame_bytes = frame_bytes / 3 * 2;
  const std::uint64_t needed = frame_bytes * (static_cast<std::uint64_t>(frame) + 1);
  require(pixels.getLength() >= needed, ErrorCode::bad_format, path,
          ": truncated DICOM pixel data: frame ", frame, " ends at byte ", needed,
          ", there are only ", pixels.getLength());
}

/// Throws `bad_format` unless the segments of an RLE frame lie inside it (PS3.5 annex G: a header
/// of sixteen words, the count of segments and their offsets). DCMTK 3.6 trusts the offsets.
inline void check_rle_segments(DcmPixelData& pixels, const DicomHeader& header, Index frame,
                               const std::string& path) {
  constexpr std::uint32_t kHeaderBytes = 64;
  E_TransferSyntax syntax = EXS_Unknown;
  const DcmRepresentationParameter* parameter = nullptr;
  pixels.getOriginalRepresentationKey(syntax, parameter);
  DcmPixelSequence* fragments = nullptr;
  DcmPixelItem* fragment = nullptr;
  Uint8* bytes = nullptr;
  // The first fragment is a table of offsets; then there is one for each frame.
  const bool found = pixels.getEncapsulatedRepresentation(syntax, parameter, fragments).good() &&
                     static_cast<Index>(fragments->card()) == header.frames + 1 &&
                     fragments->getItem(fragment, static_cast<unsigned long>(frame + 1)).good() &&
                     fragment->getUint8Array(bytes).good() && bytes != nullptr;
  require(found, ErrorCode::bad_format, path, ": DICOM RLE pixel data: expected one fragment for",
          " each of the ", header.frames, " frames");
  const std::uint32_t size = fragment->getLength();
  const auto word = [&](std::size_t index) {
    std::uint32_t value = 0;
    for (std::size_t byte = 4; byte-- > 0;) value = value << 8 | bytes[index * 4 + byte];
    return value;
  };
  const auto segments = static_cast<std::uint32_t>(header.samples * (header.bits_allocated / 8));
  bool valid = size >= kHeaderBytes && word(0) == segments;
  std::uint32_t begin = kHeaderBytes;
  for (std::size_t i = 1; valid && i <= segments; ++i) {
    const std::uint32_t end = i < segments ? word(i + 1) : size;
    // The shortest run is a count and a byte.
    valid = word(i) >= begin && end <= size && end >= word(i) && end - word(i) >= 2;
    begin = end;
  }
  require(valid, ErrorCode::bad_format, path, ": damaged DICOM RLE pixel data in frame ", frame,
          ": expected ", segments, " segments inside a fragment of ", size, " bytes");
}

/// The window in the file, by DICOM PS3.3 C.11.2.1.2: the first of several. A sigmoid is replaced
/// by its tangent, which is the exact linear function of the same centre and width.
inline std::optional<Window> dicom_window(DcmDataset& dataset, Index frame) {
  DcmItem* source = dicom_group(dataset, frame, DCM_FrameVOILUTSequence);
  if (source == nullptr) source = &dataset;
  Float64 centre = 0;
  Float64 width = 0;
  if (source->findAndGetFloat64(DCM_WindowCenter, centre).bad() ||
      source->findAndGetFloat64(DCM_WindowWidth, width).bad()) {
    return std::nullopt;
  }
  OFString function;
  (void)source->findAndGetOFString(DCM_VOILUTFunction, function);
  const bool exact = function == "LINEAR_EXACT" || function == "SIGMOID";
  const double middle = exact ? centre : centre - 0.5;
  const double half = (exact ? width : width - 1) / 2;
  const bool valid = std::isfinite(middle) && std::isfinite(half) && half >= 0;
  if (!valid) return std::nullopt;
  return Window{ValueRange{middle - half, middle + half}};
}

struct DicomRescale {
  double slope = 1;
  double intercept = 0;
};

inline DicomRescale dicom_rescale(DcmDataset& dataset, Index frame, const std::string& path) {
  DcmItem* source = dicom_group(dataset, frame, DCM_PixelValueTransformationSequence);
  if (source == nullptr) source = &dataset;
  require(!source->tagExistsWithValue(DCM_ModalityLUTSequence), ErrorCode::unsupported, path,
          ": DICOM pixels with a Modality LUT Sequence (0028,3000) are not supported");
  DicomRescale rescale;
  const auto number = [&](const DcmTagKey& tag, std::string_view name, double& to) {
    if (!source->tagExistsWithValue(tag)) return;
    Float64 value = 0;
    require(source->findAndGetFloat64(tag, value).good() && std::isfinite(value),
            ErrorCode::bad_format, path, ": the DICOM attribute ", name, " is no number");
    to = value;
  };
  number(DCM_RescaleSlope, "Rescale Slope", rescale.slope);
  number(DCM_RescaleIntercept, "Rescale Intercept", rescale.intercept);
  require(rescale.slope != 0, ErrorCode::bad_format, path,
          ": the DICOM attribute Rescale Slope is 0");
  return rescale;
}

/// Stored bits to values in the file's units (Hounsfield in CT).
template <class Stored>
void dicom_rescale_pixels(std::span<const std::uint8_t> bytes, const DicomHeader& header,
                          const DicomRescale& rescale, std::span<float> values) {
  const int shift = header.high_bit + 1 - header.bits_stored;
  const std::int32_t range = std::int32_t{1} << header.bits_stored;
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored word = 0;
    std::memcpy(&word, bytes.data() + i * sizeof word, sizeof word);
    // Bits above the high bit may hold overlays.
    std::int32_t value = (std::int32_t{word} >> shift) & (range - 1);
    if (header.is_signed && value >= range / 2) value -= range;
    values[i] = static_cast<float>(static_cast<double>(value) * rescale.slope + rescale.intercept);
  }
}

/// Decodes one frame of grey pixels, and no other frame.
inline Tensor<float, 3> dicom_read_grey(DcmDataset& dataset, DcmPixelData& pixels,
                                        const DicomHeader& header, Index frame,
                                        const std::string& path) {
  const DicomRescale rescale = dicom_rescale(dataset, frame, path);
  // DCMTK wants a buffer of even size.
  std::vector<std::uint8_t> bytes(header.frame_bytes() + header.frame_bytes() % 2);
  Uint32 start_fragment = 0;
  OFString colours;
  const OFCondition done =
      pixels.getUncompressedFrame(&dataset, static_cast<Uint32>(frame), start_fragment,
                                  bytes.data(), static_cast<Uint32>(bytes.size()), colours);
  require(done.good(), ErrorCode::bad_format, path, ": damaged DICOM pixel data in frame ", frame,
          ": ", done.text());
  Tensor<float, 3> values({Index{header.rows}, Index{header.columns}, 1});
  const std::span<float> elements = values.elements();
  if (header.bits_allocated == 8) {
    dicom_rescale_pixels<std::uint8_t>(bytes, header, rescale, elements);
  } else {
    dicom_rescale_pixels<std::uint16_t>(bytes, header, rescale, elements);
  }
  return values;
}

/// Decodes one frame of RGB, YCbCr or palette colours to 8-bit RGB.
inline Image dicom_read_colour(DcmDataset& dataset, const DicomHeader& header, Index frame,
                               const std::string& path) {
  DicomImage image(&dataset, dataset.getOriginalXfer(), CIF_UsePartialAccessToPixelData,
                   static_cast<unsigned long>(frame), 1);
  require(image.getStatus() == EIS_Normal, ErrorCode::bad_format, path, ": the DICOM colours (",
          header.photometric, ") cannot be read: ", DicomImage::getString(image.getStatus()));
  require(!image.isMonochrome() && image.getWidth() == header.columns &&
              image.getHeight() == header.rows,
          ErrorCode::bad_format, path, ": the DICOM pixels are not the ", header.columns, " x ",
          header.rows, " in colour that the header tells of");
  Image picture({Index{header.rows}, Index{header.columns}, 3});
  require(image.getOutputData(picture.data(), static_cast<unsigned long>(picture.size()), 8) != 0,
          ErrorCode::bad_format, path, ": the DICOM colours (", header.photometric,
          ") cannot be converted to RGB");
  return picture;
}

}  // namespace detail

/// True if a file may be DICOM without its usual preamble: it begins with an element of group 2
/// or 8, in either byte order.
inline bool looks_like_bare_dicom(std::span<const std::byte> head) {
  if (head.size() < 8) return false;
  const auto low = std::to_integer<int>(head[0]) | std::to_integer<int>(head[1]) << 8;
  return low == 0x0002 || low == 0x0008 || low == 0x0200 || low == 0x0800;
}

/// Reads frame `frame` (from 0) of a DICOM image.
///
/// Grey (`MONOCHROME1`, `MONOCHROME2`; 1 to 16 bits stored, signed or not): `[rows, columns, 1]`
/// floats after Rescale Slope and Intercept, with the file's window if it has one, else an
/// automatic one. Colour (RGB, YBR, PALETTE COLOR): `[rows, columns, 3]` bytes. Compressed
/// pixels: JPEG, JPEG-LS and RLE.
/// Throws `not_found`, `bad_format`, `unsupported`, or `invalid_argument` for a missing frame.
inline RawImage read_dicom(const std::filesystem::path& path, Index frame = 0) {
  require_file(path);
  const detail::DcmtkSilence silence;
  detail::register_dicom_decoders();
  const std::string name = path.string();
  DcmFileFormat file;
  const OFCondition loaded = file.loadFile(OFFilename(name.c_str()));
  require(loaded.good(), ErrorCode::bad_format, name,
          ": damaged or truncated DICOM file: ", loaded.text());
  DcmDataset& dataset = *file.getDataset();
  const detail::DicomHeader header = detail::dicom_header(dataset, name);
  require_frame(path, frame, header.frames);
  const DcmXfer syntax(dataset.getOriginalXfer());
  detail::require_decodable(syntax, name);
  // Even JPEG-LS makes no more than this of a byte.
  std::error_code ignored;
  require_plausible_size(path, header.frame_bytes(), std::filesystem::file_size(path, ignored),
                         1u << 16);

  DcmElement* element = nullptr;
  (void)dataset.findAndGetElement(DCM_PixelData, element);
  auto* pixels = dynamic_cast<DcmPixelData*>(element);
  require(pixels != nullptr, ErrorCode::bad_format, name, ": the DICOM pixel data is damaged");
  if (!syntax.isEncapsulated()) detail::check_native_length(*pixels, header, frame, name);
  if (syntax.getXfer() == EXS_RLELossless) {
    detail::check_rle_segments(*pixels, header, frame, name);
  }

  RawImage raw;
  raw.format = format_name(ImageFormat::dicom);
  raw.frames = header.frames;
  raw.bits = header.bits_stored;
  if (header.is_monochrome()) {
    raw.samples = detail::dicom_read_grey(dataset, *pixels, header, frame, name);
    raw.inverted = header.photometric == "MONOCHROME1";
    raw.suggested_window = detail::dicom_window(dataset, frame);
    if (!raw.suggested_window) raw.suggested_window = Window::automatic();
  } else {
    raw.samples = detail::dicom_read_colour(dataset, header, frame, name);
  }
  return raw;
}

}  // namespace promiseg
