"""Radiografías DICOM de verdad, escritas con pydicom, para las pruebas."""

import io

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


def picture(height=120, width=160):
    """Un tórax en cuatro trazos, de 0 a 255: pulmones oscuros, centro claro, bordes negros."""
    rows, columns = np.mgrid[0 : 1 : 1j * height, 0 : 1 : 1j * width]
    body = np.clip(4 * (0.5 - np.abs(columns - 0.5)), 0, 1)
    lungs = np.exp(-(((columns - 0.28) / 0.12) ** 2 + ((rows - 0.45) / 0.3) ** 2))
    lungs += np.exp(-(((columns - 0.72) / 0.12) ** 2 + ((rows - 0.45) / 0.3) ** 2))
    return np.rint(240 * body * (1 - 0.7 * lungs)).astype(np.uint8)


def dicom(values, *, bits, syntax=ExplicitVRLittleEndian, **header):
    """Bytes de un DICOM de `bits` bits; `header` añade o cambia datos de su cabecera."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["neumo", str(header)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientID, dataset.PatientName = "DX", "77001234", "Apellido^Nombre"
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
    dataset.BitsAllocated = 8 if bits <= 8 else 16
    dataset.PixelData = values.astype("u1" if bits <= 8 else "<u2").tobytes()
    for name, value in header.items():
        setattr(dataset, name, value)
    if syntax != ExplicitVRLittleEndian:
        dataset.compress(syntax)
    dataset.save_as(target := io.BytesIO(), enforce_file_format=True)
    return target.getvalue()
